import { afterEach, expect, test } from "bun:test";
import { SHARDS } from "../arithmetic/shard.ts";
import { HotStoreAway } from "../ports/hot-store.ts";
import type { SourceState } from "../ports/ledger.ts";
import type { Quiet } from "./mysql/retirement.ts";
import { Retirer } from "./retirer.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const RETENTION_MS = 7 * DAY_MS;
/** Through the ledger's sources, and behind that through Redis. */
const LEDGER_STEPS = 3;
const FORGETTING_STEPS = 2;
const REDIS_STEPS = 16;

/** Sources `old` and `new` on shard 100, of which `new` has a row. */
class Stores {
  readonly asked: Quiet[] = [];
  /** Retired uploads that are to be forgotten, as slices. */
  readonly old = [2, 1];
  readonly forgotBefore: number[] = [];
  readonly forgotten: SourceState[] = [];
  isRedisAway = false;
  #left = LEDGER_STEPS;

  async forgetUploads(beforeMs: number): Promise<number> {
    this.forgotBefore.push(beforeMs);
    return this.old.pop() ?? 0;
  }

  async step(quiet: Quiet): Promise<string[] | null> {
    this.asked.push(quiet);
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
  for (let i = 0; i < FORGETTING_STEPS + LEDGER_STEPS + REDIS_STEPS; i++) await retiring.step();
  const runsBeforeMs = nowMs - RETENTION_MS - DAY_MS;
  expect(stores.asked).toEqual(Array(LEDGER_STEPS).fill({ runsBeforeMs, uploadsBeforeMs: nowMs - 6 * HOUR_MS }));
  // Until there was none left, which is found on the way to the first source.
  expect(stores.forgotBefore).toEqual(Array(FORGETTING_STEPS + 1).fill(runsBeforeMs));
  nowMs += 0.4 * HOUR_MS;
  await retiring.step();
  expect(stores.asked).toHaveLength(LEDGER_STEPS);
  nowMs += 1.2 * HOUR_MS;
  await retiring.step();
  expect(stores.asked).toHaveLength(LEDGER_STEPS + 1);
  expect(stores.forgotBefore).toHaveLength(FORGETTING_STEPS + 2);
});

test("has Redis forget who has no row, and goes on where it was when Redis is back", async () => {
  const stores = new Stores();
  const nowMs = Date.now() + 2 * HOUR_MS;
  const retiring = retirer(stores, () => nowMs);
  for (let i = 0; i < FORGETTING_STEPS + LEDGER_STEPS + 6; i++) await retiring.step();
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
