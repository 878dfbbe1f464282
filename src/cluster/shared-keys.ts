import { keyReused } from "../errors.ts";
import { LAG_MS_MAX } from "../limits.ts";
import type { OnceKey } from "../ports/counting.ts";
import { type HotStore, HotStoreAway, type KeyedPut } from "../ports/hot-store.ts";
import { AWAY, isAway, storeAway } from "./away.ts";
import type { SharedLedger } from "./ledger.ts";
import type { Shards } from "./shards.ts";

/**
 * Idempotency-Keys as all nodes know them: those of acts on their way in Redis, all others in the ledger. What this node alone
 * knows of its own is its log thread's (`ActKeys`).
 */
export class SharedKeys {
  readonly #hot: HotStore;
  readonly #ledger: SharedLedger;
  readonly #shards: Shards;

  constructor(parts: { hot: HotStore; ledger: SharedLedger; shards: Shards }) {
    this.#hot = parts.hot;
    this.#ledger = parts.ledger;
    this.#shards = parts.shards;
  }

  /**
   * Whether the key has named an act already; throws where that was another one. Where it cannot be asked for it counts as
   * new: the ledger decides, which takes a key once.
   */
  async look(shard: number, once: OnceKey): Promise<{ isKnown: boolean; version: number }> {
    const onTheWay = await this.find(shard, once.key).catch(storeAway);
    const stored = await this.#ledger.keyHint(shard, once.key).catch(storeAway);
    const version = stored === AWAY ? -1 : stored.version;
    for (const known of [onTheWay === AWAY ? null : onTheWay, stored === AWAY ? null : stored.known]) {
      if (known === null) continue;
      if (known.body !== once.body) throw keyReused();
      return { isKnown: true, version };
    }
    return { isKnown: false, version };
  }

  /** The act that is on its way under the key. Throws where Redis cannot be asked. */
  async find(shard: number, key: string): Promise<{ body: string; atMs: number } | null> {
    for (let round = 0; round < 3; round++) {
      const found = await this.#hot.findKey(shard, key);
      if (found !== "none" && found !== "foreign") return found;
      await this.#shards.repair(shard);
    }
    throw new HotStoreAway(`shard ${shard} does not come to rest`);
  }

  /**
   * Makes the key, and what it adds, known to the others, and says what the count is then, if it is at hand; null where that
   * cannot be now: the ledger will.
   */
  async put(shard: number, put: Omit<KeyedPut, "atMs">): Promise<{ count: number | null } | null> {
    const deadline = performance.now() + LAG_MS_MAX;
    let isNew = false;
    try {
      while (performance.now() < deadline) {
        const answer = await this.#hot.putKeyed(shard, { ...put, atMs: Date.now() });
        if (answer === "none" || answer === "foreign") {
          await this.#shards.repair(shard);
        } else if (answer.status === "ok") {
          if (answer.body !== put.body) throw keyReused();
          return { count: answer.count };
        } else {
          if (answer.status === "behind" && isNew) await this.#shards.repair(shard);
          const { known, version } = await this.#ledger.keyHint(shard, put.key);
          // Another node's act may have been the first in the log: then this one is not counted.
          if (known && known.body !== put.body) throw keyReused();
          // The ledger has counted it: the copy must have that before anyone is told.
          if (known && answer.status === "behind") await this.#shards.repair(shard);
          if (known || answer.status === "decided") return { count: null };
          put.version = version;
          isNew = true;
        }
      }
    } catch (error) {
      if (!isAway(error)) throw error;
    }
    return null;
  }
}
