import { SHARDS } from "../arithmetic/shard.ts";
import { LAG_MS_MAX } from "../limits.ts";
import type { HotStore } from "../ports/hot-store.ts";
import type { Position } from "../ports/log.ts";
import type { LogRecord } from "../records.ts";
import type { Freshness } from "./freshness.ts";

/** What is hidden, by shard; all of it stands in the outbox before `upTo`. */
interface Hidden {
  counts: ReadonlyMap<number, number>;
  upTo: Position;
}

/**
 * Shards that hide acts of this node (see `Freshness.hide`): they were answered, are in no copy, and were not in Kafka then or
 * could not be told of in Redis. The log thread ends that: it tells everybody to wait for them, or, while Kafka is away, puts
 * them itself.
 */
export class HiddenActs {
  readonly #freshness: Freshness;
  readonly #hot: HotStore;
  /** Shards of acts that an earlier run left, as long as these are hidden. */
  readonly #inherited = new Set<number>();
  /** Hidden acts that somebody may be putting himself. */
  #waiting: Hidden | null = null;
  /** Whatever stands before it in the outbox is in a copy, or in Kafka and told of. */
  #putUpTo: Position = 0;
  /** That will be so up to here once nothing has been hidden for long. */
  #quiet: { upTo: Position; sinceMs: number } | null = null;

  constructor(parts: { freshness: Freshness; hot: HotStore }) {
    this.#freshness = parts.freshness;
    this.#hot = parts.hot;
  }

  /** Whether all that was answered is seen, or told of. */
  get isEmpty(): boolean {
    return this.#counts().size === 0;
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
    if (!this.#inherited.delete(shard)) return;
    this.#freshness.unhide(shard, 1);
    this.#waiting = null; // it may have counted it
  }

  /** Whatever stands before `upTo` in the outbox, on whichever shard, has been put. */
  allPut(upTo: Position): void {
    this.#putUpTo = Math.max(this.#putUpTo, upTo);
  }

  /** Tells everybody to wait until the ledger has them. `isShipped`: whether Kafka has every act of the outbox. */
  async tell(isShipped: () => boolean): Promise<void> {
    const hidden = this.#counts();
    // After the look at `hidden`: then those acts are in Kafka, and any end that is read from now on covers them.
    if (hidden.size === 0 || !isShipped()) return;
    await this.#hot.unsettle([...hidden.keys()]);
    this.#end(hidden);
  }

  /**
   * Puts them for those who left them. `answeredUpTo`: where the outbox ends for those who hear of their acts; `leftUpTo`: up
   * to where nobody puts his acts himself any more. What `put` fails with is thrown, and the next call tries again.
   */
  async put(
    { answeredUpTo, leftUpTo }: { answeredUpTo: Position; leftUpTo: Position },
    put: (shards: ReadonlySet<number>, upTo: Position, from: Position) => Promise<void>,
  ): Promise<void> {
    const hidden = this.#counts();
    if (hidden.size === 0) return this.#comeOn(leftUpTo);
    this.#quiet = null;
    this.#waiting ??= { counts: hidden, upTo: answeredUpTo };
    const { counts, upTo } = this.#waiting;
    if (upTo > leftUpTo) return;
    await put(new Set(counts.keys()), upTo, this.#putUpTo);
    this.#end(counts);
  }

  /** Who puts his act no more may hide it only a second later: he tells Redis first. */
  #comeOn(leftUpTo: Position): void {
    const nowMs = performance.now();
    this.#quiet ??= { upTo: leftUpTo, sinceMs: nowMs };
    if (nowMs - this.#quiet.sinceMs < LAG_MS_MAX) return;
    this.allPut(this.#quiet.upTo);
    this.#quiet = { upTo: leftUpTo, sinceMs: nowMs };
  }

  #counts(): Map<number, number> {
    const shards = Array.from({ length: SHARDS }, (_, shard) => [shard, this.#freshness.hidden(shard)] as const);
    return new Map(shards.filter(([, hidden]) => hidden > 0));
  }

  #end(hidden: ReadonlyMap<number, number>): void {
    for (const [shard, count] of hidden) {
      this.#freshness.unhide(shard, count);
      this.#inherited.delete(shard);
    }
    this.#waiting = null;
  }
}
