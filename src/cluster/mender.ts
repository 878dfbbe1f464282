import { SHARDS } from "../arithmetic/shard.ts";
import type { HotStore } from "../ports/hot-store.ts";
import type { SharedLedger } from "./ledger.ts";
import type { Shards } from "./shards.ts";

/**
 * Copies that may have missed a commit: Redis was away when they were to be told, or the projector died before it told them.
 * Who only reads does not notice, and a shard where nothing happens any more would show the old numbers for ever. Where Redis
 * is away from one projector alone, only the others can tell it: `watch`.
 */
export class Mender {
  readonly #hot: HotStore;
  readonly #ledger: Pick<SharedLedger, "shards">;
  readonly #shards: Shards;
  readonly #suspects = new Set<number>();
  /** By shard: the ledger's version at the last `watch`, and the one that the copy is known to have. */
  #seen: number[] = [];
  readonly #told: number[] = [];
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

  /**
   * Suspects the shards whose copies lack what was in the ledger a look ago already: by then whoever committed it would have
   * told them. Asks Redis only for what has changed. Rejects where a store is away.
   */
  async watch(): Promise<void> {
    const before = this.#seen;
    this.#seen = (await this.#ledger.shards()).map(({ version }) => version);
    const changed = [...before.keys()].filter((shard) => before[shard] !== (this.#told[shard] ?? 0));
    if (changed.length === 0) return;
    const heads = await this.#hot.heads(changed);
    for (const [i, shard] of changed.entries()) {
      const version = before[shard] as number;
      const head = heads[i];
      if (head && head.version < version) this.#suspects.add(shard);
      else this.#told[shard] = version;
    }
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
