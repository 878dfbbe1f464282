import { afterEach, expect, test } from "bun:test";
import { SHARDS } from "../arithmetic/shard.ts";
import { HotStoreAway } from "../ports/hot-store.ts";
import type { SourceState } from "../ports/ledger.ts";
import { Retirer } from "./retirer.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const RETENTION_MS = 7 * DAY_MS;
/** Through the ledger's sources, and behind that through Redis. */
const LEDGER_STEPS = 3;
const REDIS_STEPS = 16;

/** Sources `old` and `new` on shard 100, of which `new` has a row. */
class Stores {
  readonly asked: number[] = [];
  readonly forgotten: SourceState[] = [];
  isRedisAway = false;
  #left = LEDGER_STEPS;

  async step(beforeMs: number): Promise<string[] | null> {
    this.asked.push(beforeMs);
    if (--this.#left > 0) return ["old"];
    this.#left = LEDGER_STEPS;
    return null;
  }

  async rowless(shard: number, sources: readonly string[]): Promise<Set<string>> {
    expect(shard).toBe(100);
    return new Set(sources.filter((source) => source !== "new"));
  }

  async sources(shards: readonly number[]): Promise<SourceState[][]> {
    if (this.isRedisAway) throw new HotStoreAway();
    expect(Math.max(...shards)).toBeLessThan(SHARDS);
    const there = ["old", "new"].map((source) => ({ source, shard: 100, last: 7 }));
    return shards.map((shard) => (shard === 100 ? there : []));
  }

  async forget(numbers: readonly SourceState[]): Promise<void> {
    this.forgotten.push(...numbers);
  }

  close(): void {}
}

let made: Retirer | null = null;
afterEach(() => made?.stop());

function retirer(stores: Stores, now: () => number): Retirer {
  made = new Retirer({ ledger: stores, hot: stores, retentionMs: RETENTION_MS, now });
  return made;
}

test("walks within the first hour, puts away what is older than the log and a day, and then rests", async () => {
  const stores = new Stores();
  const began = Date.now();
  let nowMs = began - 1;
  const retiring = retirer(stores, () => nowMs);
  await retiring.step();
  expect(stores.asked).toEqual([]);
  nowMs = began + HOUR_MS + 1_000;
  for (let i = 0; i < LEDGER_STEPS + REDIS_STEPS; i++) await retiring.step();
  expect(stores.asked).toEqual(Array(LEDGER_STEPS).fill(nowMs - RETENTION_MS - DAY_MS));
  nowMs += 0.4 * HOUR_MS;
  await retiring.step();
  expect(stores.asked).toHaveLength(LEDGER_STEPS);
  nowMs += 1.2 * HOUR_MS;
  await retiring.step();
  expect(stores.asked).toHaveLength(LEDGER_STEPS + 1);
});

test("has Redis forget who has no row, and goes on where it was when Redis is back", async () => {
  const stores = new Stores();
  const nowMs = Date.now() + 2 * HOUR_MS;
  const retiring = retirer(stores, () => nowMs);
  for (let i = 0; i < LEDGER_STEPS + 6; i++) await retiring.step();
  expect(stores.forgotten).toEqual([]);
  stores.isRedisAway = true;
  expect(await retiring.step().catch((error) => error)).toBeInstanceOf(HotStoreAway);
  stores.isRedisAway = false;
  await retiring.step();
  expect(stores.forgotten).toEqual([{ source: "old", shard: 100, last: 7 }]);
  for (let i = 7; i < REDIS_STEPS; i++) await retiring.step();
  await retiring.step();
  expect(stores.asked).toHaveLength(LEDGER_STEPS);
});
