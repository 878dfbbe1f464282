import { SHARDS } from "../arithmetic/shard.ts";
import type { HotStore } from "../ports/hot-store.ts";
import type { SharedLedger } from "./ledger.ts";
import type { Shards } from "./shards.ts";

/**
 * Copies that may have missed a commit: Redis was away when they were to be told, or the projector died before it told them.
 * Who only reads does not notice, and a shard where nothing happens any more would show the old numbers for ever.
 */
export class Mender {
  readonly #hot: HotStore;
  readonly #ledger: Pick<SharedLedger, "shards">;
  readonly #shards: Shards;
  readonly #suspects = new Set<number>();
  #isMending = false;

  constructor(parts: { hot: HotStore; ledger: Pick<SharedLedger, "shards">; shards: Shards }) {
    this.#hot = parts.hot;
    this.#ledger = parts.ledger;
    this.#shards = parts.shards;
  }

  suspect(shards: Iterable<number>): void {
    for (const shard of shards) this.#suspects.add(shard);
  }

  /** Another projector may have died: any shard. */
  suspectAll(): void {
    this.suspect(Array(SHARDS).keys());
  }

  /** Brings those up to the ledger that are behind it. Rejects where a store is away: they stay suspects. */
  async mend(): Promise<void> {
    if (this.#isMending || this.#suspects.size === 0) return;
    this.#isMending = true;
    try {
      const suspects = [...this.#suspects];
      const ledger = await this.#ledger.shards();
      const heads = await this.#hot.heads(suspects);
      for (const [i, shard] of suspects.entries()) {
        const head = heads[i];
        // No copy: whoever makes one reads the ledger.
        if (head && head.version < (ledger[shard]?.version ?? 0)) await this.#shards.repair(shard);
        this.#suspects.delete(shard);
      }
    } finally {
      this.#isMending = false;
    }
  }
}
