import {
  type HotStore,
  isAbandoned,
  isBehind,
  isSameState,
  type LedgerState,
  type ShardHead,
} from "../ports/hot-store.ts";
import type { SharedLedger } from "./ledger.ts";

/** Finds copies that were not told of a commit, or that know of commits which the ledger lacks. */
export class MissedCommits {
  readonly #hot: Pick<HotStore, "heads">;
  readonly #ledger: Pick<SharedLedger, "shards">;
  /** By shard: the ledger at the last look, and as the copy is known to have it. */
  #seen: LedgerState[] = [];
  readonly #told: LedgerState[] = [];

  constructor(parts: { hot: Pick<HotStore, "heads">; ledger: Pick<SharedLedger, "shards"> }) {
    this.#hot = parts.hot;
    this.#ledger = parts.ledger;
  }

  /**
   * The shards whose copies lack what was in the ledger a look ago already: by now whoever committed it would have told them.
   * And those that know more than it has now. Each with a version that the ledger has had since, and has now. Asks Redis only
   * for what has changed. Rejects where a store is away.
   */
  async look(): Promise<Map<number, number>> {
    const before = this.#seen;
    const changed = [...before.keys()].filter((shard) => !isSameState(before[shard], this.#told[shard]));
    const heads = changed.length === 0 ? [] : await this.#hot.heads(changed);
    this.#seen = await this.#ledger.shards();
    const missed = new Map<number, number>();
    for (const [i, shard] of changed.entries()) {
      const [then, now] = [before[shard], this.#seen[shard]] as [LedgerState, LedgerState];
      if (isWrong(heads[i], then, now)) missed.set(shard, Math.min(then.version, now.version));
      else this.#told[shard] = then;
    }
    return missed;
  }
}

/** The ledger was read before the head and after it. */
export function isWrong(head: ShardHead | null | undefined, before?: LedgerState, after?: LedgerState): boolean {
  // No copy: whoever makes one reads the ledger.
  if (!head || !before || !after) return false;
  return isBehind(head, before) || isAbandoned(head, after);
}
