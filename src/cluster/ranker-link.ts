import { Worker } from "node:worker_threads";
import type { Settings } from "../config.ts";
import { threadEntry } from "../lib/thread-entry.ts";

export interface RankerData {
  settings: Settings;
}

export interface RankerCommand {
  kind: "stop";
}

/** Main's end of the ranker thread. */
export class RankerLink {
  readonly #worker: Worker;
  readonly #ended: Promise<void>;
  #isStopping = false;

  constructor(data: RankerData, died: (error: unknown) => void) {
    this.#worker = new Worker(threadEntry("cluster/ranker-thread.ts"), { workerData: data });
    this.#worker.on("error", died);
    this.#ended = new Promise((resolve) => {
      this.#worker.on("exit", (code) => {
        resolve();
        if (!this.#isStopping) died(new Error(`the ranker ended with ${code}`));
      });
    });
  }

  /** Another node's leads then; what this one has not kept yet stays among the ledger's changes. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#worker.postMessage({ kind: "stop" } satisfies RankerCommand);
    await Promise.race([this.#ended, Bun.sleep(2_000)]);
  }
}
