import type { HotStore } from "../ports/hot-store.ts";
import type { Freshness } from "./freshness.ts";
import type { SharedLedger } from "./ledger.ts";
import { MissedCommits } from "./missed-commits.ts";

/** A commit that Redis was not told of for so long it will not be told of by whoever made it. */
const WATCH_EVERY_MS = 3_000;

/**
 * A Redis that is full answers who reads, and takes in no commit: its copies stand still. Who acts on a shard notices that, and
 * who only reads would be shown the old numbers for as long as it lasts. So each node looks for such copies now and again, and
 * takes none of them for less than the ledger had a look ago (see `Freshness.shownAt`): they are mended, or the ledger is shown.
 */
export class CopyWatch {
  readonly #missed: MissedCommits;
  readonly #freshness: Freshness;
  readonly #everyMs: number;
  /** When the last look was over: what it has found of the ledger must be as old as that. */
  #lookedMs = Number.NEGATIVE_INFINITY;

  constructor(parts: {
    hot: Pick<HotStore, "heads">;
    ledger: Pick<SharedLedger, "shards">;
    freshness: Freshness;
    everyMs?: number;
  }) {
    this.#missed = new MissedCommits(parts);
    this.#everyMs = parts.everyMs ?? WATCH_EVERY_MS;
    this.#freshness = parts.freshness;
  }

  /** To be called often. Rejects where a store is away. */
  async look(): Promise<void> {
    const nowMs = performance.now();
    if (nowMs - this.#lookedMs < this.#everyMs) return;
    try {
      for (const [shard, version] of await this.#missed.look()) this.#freshness.shownAt(shard, version);
    } finally {
      this.#lookedMs = performance.now();
    }
  }
}
