import { MessageChannel, type MessagePort, Worker } from "node:worker_threads";
import { threadEntry } from "../lib/thread-entry.ts";
import type { LogSetup } from "../telemetry/log.ts";

/** What main hands to the thread that ranks. */
export interface RankerData {
  ledgerPath: string;
  candidates: number;
  halfLifeS: number;
  log: Partial<LogSetup>;
}

export type RankerCommand = { kind: "join"; port: MessagePort } | { kind: "stop" };

/** Main's end of the ranker thread. */
export class RankerLink {
  readonly #worker: Worker;
  readonly #ended: Promise<void>;
  #isStopping = false;

  constructor(data: RankerData, died: (error: unknown) => void) {
    this.#worker = new Worker(threadEntry("embedded/ranker-thread.ts"), { workerData: data });
    this.#worker.on("error", died);
    this.#ended = new Promise((resolve) => {
      this.#worker.on("exit", (code) => {
        resolve();
        if (!this.#isStopping) died(new Error(`the ranker ended with ${code}`));
      });
    });
  }

  /** A request thread's way to it. */
  join(): MessagePort {
    const { port1, port2 } = new MessageChannel();
    this.#command({ kind: "join", port: port2 }, [port2]);
    return port1;
  }

  /** What it has not kept yet stays among the ledger's changes. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#command({ kind: "stop" });
    await this.#ended;
  }

  #command(command: RankerCommand, transfer: MessagePort[] = []): void {
    this.#worker.postMessage(command, transfer);
  }
}
