import { SHARDS } from "../arithmetic/shard.ts";
import { type HotStore, isAbandoned, type LedgerState } from "../ports/hot-store.ts";
import type { SharedLedger } from "./ledger.ts";
import { isWrong, MissedCommits } from "./missed-commits.ts";
import type { Shards } from "./shards.ts";

/** A repair may wait a tenth of a second. */
const AT_ONCE = 32;

/**
 * Copies that may have missed a commit: Redis was away when they were to be told, or the projector died before it told them. Or
 * the ledger was restored from a backup, and they know of commits that are gone. Who only reads does not notice, and a shard
 * where nothing happens any more would show the old numbers for ever. Where Redis is away from one projector alone, only the
 * others can tell it: `watch`.
 */
export class Mender {
  readonly #hot: HotStore;
  readonly #ledger: Pick<SharedLedger, "shards">;
  readonly #shards: Shards;
  readonly #suspects = new Set<number>();
  readonly #missed: MissedCommits;
  #isMending = false;

  constructor(parts: { hot: HotStore; ledger: Pick<SharedLedger, "shards">; shards: Shards }) {
    this.#hot = parts.hot;
    this.#ledger = parts.ledger;
    this.#shards = parts.shards;
    this.#missed = new MissedCommits(parts);
  }

  suspect(shards: Iterable<number>): void {
    for (const shard of shards) this.#suspects.add(shard);
  }

  /** Another projector may have died: any shard. */
  suspectAll(): void {
    this.suspect(Array(SHARDS).keys());
  }

  /**
   * To be called before anything is applied: copies that know of commits which an older ledger lacks. Its versions come again
   * for other commits, and soon such a copy would pass for one of them. Rejects where a store is away.
   */
  async abandonOlder(): Promise<void> {
    const shards = [...Array(SHARDS).keys()];
    const heads = await this.#hot.heads(shards);
    const ledger = await this.#ledger.shards();
    await this.#repair(shards.filter((shard, i) => heads[i] && isAbandoned(heads[i], ledger[shard] as LedgerState)));
  }

  /** Suspects the shards of which some commit was missed. Rejects where a store is away. */
  async watch(): Promise<void> {
    this.suspect((await this.#missed.look()).keys());
  }

  /** Brings those up to the ledger that differ from it. Rejects where a store is away: they stay suspects. */
  async mend(): Promise<void> {
    if (this.#isMending || this.#suspects.size === 0) return;
    this.#isMending = true;
    const suspects = [...this.#suspects];
    this.#suspects.clear();
    try {
      const before = await this.#ledger.shards();
      const heads = await this.#hot.heads(suspects);
      const after = await this.#ledger.shards();
      const wrong = suspects.filter((shard, i) => isWrong(heads[i], before[shard], after[shard]));
      await this.#repair(wrong);
      // Looked at again: a repair may have read the ledger before the commit that the copy lacked.
      this.suspect(wrong);
    } catch (error) {
      this.suspect(suspects);
      throw error;
    } finally {
      this.#isMending = false;
    }
  }

  async #repair(shards: readonly number[]): Promise<void> {
    for (let from = 0; from < shards.length; from += AT_ONCE) {
      await Promise.all(shards.slice(from, from + AT_ONCE).map((shard) => this.#shards.repair(shard)));
    }
  }
}
