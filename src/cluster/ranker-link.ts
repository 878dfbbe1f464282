import type { Settings } from "../config.ts";
import { Thread } from "../lib/threads.ts";

export interface RankerData {
  settings: Settings;
}

export interface RankerCommand {
  kind: "stop";
}

/** Main's end of the ranker thread. */
export class RankerLink {
  readonly #thread: Thread;

  constructor(workerData: RankerData, died: (error: unknown) => void) {
    this.#thread = new Thread("cluster/ranker-thread.ts", { name: "ranker", workerData, died });
  }

  /** Another node's leads then; what this one has not kept yet stays among the ledger's changes. */
  async stop(): Promise<void> {
    const stop = () => this.#thread.worker.postMessage({ kind: "stop" } satisfies RankerCommand);
    await Promise.race([this.#thread.stop(stop), Bun.sleep(2_000)]);
  }
}
