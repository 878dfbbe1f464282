import type { HotStore, Missing, ShardToken } from "../ports/hot-store.ts";

/** What was asked of some shards at one moment. */
type Tokens = ReadonlyMap<number, ShardToken | Missing>;

/**
 * Asks for shards' tokens, one call under way at a time: whoever comes meanwhile is gathered for the next one, which asks for
 * each shard once, however many pages want it. A call begins after all its askers came, so what it finds is no older.
 */
export class ShardTokens {
  readonly #hot: HotStore;
  #gathering: { shards: Set<number>; tokens: Promise<Tokens> } | null = null;
  #underWay: Promise<unknown> = Promise.resolve();

  constructor(hot: HotStore) {
    this.#hot = hot;
  }

  /** Of these shards and perhaps others. */
  ask(shards: Iterable<number>): Promise<Tokens> {
    this.#gathering ??= this.#gather();
    const { shards: all, tokens } = this.#gathering;
    for (const shard of shards) all.add(shard);
    return tokens;
  }

  #gather(): { shards: Set<number>; tokens: Promise<Tokens> } {
    const shards = new Set<number>();
    const tokens = this.#after(this.#underWay, shards);
    this.#underWay = tokens.catch(() => undefined);
    return { shards, tokens };
  }

  async #after(before: Promise<unknown>, shards: Set<number>): Promise<Tokens> {
    await before;
    await new Promise((resolve) => setImmediate(resolve));
    this.#gathering = null;
    const each = [...shards];
    const answers = await this.#hot.tokens(each);
    return new Map(each.map((shard, i) => [shard, answers[i] as ShardToken | Missing]));
  }
}
