import { compareBytes } from "../arithmetic/place.ts";
import { SHARDS } from "../arithmetic/shard.ts";
import { unavailable } from "../errors.ts";
import { COUNTS_ON_THE_WAY_MAX } from "../limits.ts";
import { CountedWalk, countedRange, firstOf } from "../local/counted.ts";
import type { Metric, Subject } from "../model.ts";
import type { CountedPage, CountedQuery } from "../ports/counting.ts";
import type { CountName, HotStore } from "../ports/hot-store.ts";
import type { CounterTable } from "../tallies/table.ts";
import { isAway } from "./away.ts";
import type { SharedLedger } from "./ledger.ts";
import type { Shards } from "./shards.ts";
import type { WithoutRedis } from "./without-redis.ts";

const EVERY_SHARD = Array.from({ length: SHARDS }, (_, shard) => shard);
const ROUNDS = 3;

interface CountedParts {
  table: CounterTable;
  hot: HotStore;
  shards: Shards;
  ledger: SharedLedger;
  withoutRedis: WithoutRedis;
  /** What a subject shows, exactly. */
  counts(subject: Subject, metrics: readonly Metric[]): number[] | Promise<number[]>;
}

/**
 * Subjects that show a count above 0: those of the ledger, those on their way to it, in Redis, and those that only this node
 * has counted since the last flush. Memory first, Redis second, the ledger last, the way that counts go: what moves on in
 * between is met at least once. What the ledger alone knows of it says; every other subject is looked up.
 */
export class CountedReader {
  readonly #parts: CountedParts;

  constructor(parts: CountedParts) {
    this.#parts = parts;
  }

  async read(query: CountedQuery): Promise<CountedPage> {
    const { below } = countedRange(query);
    const walk = new CountedWalk(query);
    const moving = new Set(this.#newcomers());
    for (const { subject } of await this.#onTheWay()) moving.add(subject);
    const behind = [...moving].filter((subject) => subject < below && compareBytes(subject, walk.after) > 0);
    const ids = new Set(query.metrics.map(({ id }) => id));
    for (;;) {
      const { after, wanted: limit } = walk;
      const stored = await this.#parts.ledger.countedSubjects({ after, below, limit });
      const ahead = behind.filter((subject) => compareBytes(subject, after) > 0);
      const next = firstOf([[...stored.keys()], ahead], limit);
      const isShown = next.map(async (subject) => {
        if (moving.has(subject)) return (await this.#parts.counts(subject, query.metrics)).some((count) => count > 0);
        return stored.get(subject)?.some(([metric, count]) => count > 0 && ids.has(metric)) ?? false;
      });
      const page = walk.take(next, await Promise.all(isShown));
      if (page) return page;
    }
  }

  #newcomers(): Subject[] {
    const found: Subject[] = [];
    this.#parts.table.enter();
    try {
      this.#parts.table.visitNewcomers((subject) => found.push(subject));
    } finally {
      this.#parts.table.leave();
    }
    return found;
  }

  /** While Redis is away only what this node itself has on its way. */
  async #onTheWay(): Promise<CountName[]> {
    const found: CountName[] = [];
    let left = EVERY_SHARD;
    try {
      for (let round = 0; left.length > 0 && round < ROUNDS; round++) {
        const answers = await this.#parts.hot.countsOnTheWay(left, COUNTS_ON_THE_WAY_MAX);
        for (const answer of answers) {
          if (answer === "many") throw unavailable("too much is on its way into MySQL: ask again when that is done");
          if (answer !== "none" && answer !== "foreign") for (const name of answer) found.push(name);
        }
        left = left.filter((_, i) => answers[i] === "none" || answers[i] === "foreign");
        if (round < ROUNDS - 1) await Promise.all(left.map((shard) => this.#parts.shards.repair(shard)));
      }
    } catch (error) {
      if (!isAway(error)) throw error;
      return this.#parts.withoutRedis.onTheWay();
    }
    return found;
  }
}
