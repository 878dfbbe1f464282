import { SHARDS } from "../arithmetic/shard.ts";
import type { HotStore } from "../ports/hot-store.ts";
import type { LogRecord } from "../records.ts";
import type { Freshness } from "./freshness.ts";

/**
 * Shards that hide acts of this node (see `Freshness.hide`): they were answered, are in no copy, and were not in Kafka then or
 * could not be told of in Redis. The log thread ends that.
 */
export class HiddenActs {
  readonly #freshness: Freshness;
  readonly #hot: HotStore;
  /** Shards of acts that an earlier run left, as long as these are hidden. */
  readonly #inherited = new Set<number>();

  constructor(parts: { freshness: Freshness; hot: HotStore }) {
    this.#freshness = parts.freshness;
    this.#hot = parts.hot;
  }

  /** What an earlier run left in the outbox may be in no copy. */
  inherit(records: readonly LogRecord[]): void {
    for (const { kind, shard } of records) {
      if (kind !== "relation" || this.#inherited.has(shard)) continue;
      this.#inherited.add(shard);
      this.#freshness.hide(shard);
    }
  }

  /** The copy has all that was inherited. */
  shown(shard: number): void {
    if (this.#inherited.delete(shard)) this.#freshness.unhide(shard, 1);
  }

  /** Tells everybody to wait until the ledger has them. `isShipped`: whether Kafka has every act of the outbox. */
  async tell(isShipped: () => boolean): Promise<void> {
    const hidden = Array.from({ length: SHARDS }, (_, shard) => this.#freshness.hidden(shard));
    const shards = [...hidden.keys()].filter((shard) => (hidden[shard] as number) > 0);
    // After the look at `hidden`: then those acts are in Kafka, and any end that is read from now on covers them.
    if (shards.length === 0 || !isShipped()) return;
    await this.#hot.unsettle(shards);
    for (const shard of shards) {
      this.#freshness.unhide(shard, hidden[shard] as number);
      this.#inherited.delete(shard);
    }
  }
}
