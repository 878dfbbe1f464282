import { MessageChannel, type MessagePort } from "node:worker_threads";
import { Thread } from "../lib/threads.ts";

/** What main hands to the thread that ranks. */
export interface RankerData {
  ledgerPath: string;
  candidates: number;
  halfLifeS: number;
}

export type RankerCommand = { kind: "join"; port: MessagePort } | { kind: "anew" } | { kind: "stop" };

/** Main's end of the ranker thread. */
export class RankerLink {
  readonly #thread: Thread;

  constructor(workerData: RankerData, died: (error: unknown) => void) {
    this.#thread = new Thread("embedded/ranker-thread.ts", { name: "ranker", workerData, died });
  }

  /** A request thread's way to it. */
  join(): MessagePort {
    const { port1, port2 } = new MessageChannel();
    this.#command({ kind: "join", port: port2 }, [port2]);
    return port1;
  }

  /** What it looks back on has changed behind it. */
  beginAnew(): void {
    this.#command({ kind: "anew" });
  }

  /** What it has not kept yet stays among the ledger's changes. */
  stop(): Promise<void> {
    return this.#thread.stop(() => this.#command({ kind: "stop" }));
  }

  #command(command: RankerCommand, transfer: MessagePort[] = []): void {
    this.#thread.worker.postMessage(command, transfer);
  }
}
