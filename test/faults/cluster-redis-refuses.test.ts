import { expect, test } from "bun:test";
import { ClusterWorld } from "../support/cluster-world.ts";
import { eventually } from "../support/eventually.ts";
import { LedgerFloor } from "../support/ledger-floor.ts";
import type { RedisServer } from "../support/services.ts";
import { StillCounts } from "../support/still-counts.ts";

const SEED = Number(process.env.SEED ?? Date.now() % 100_000);
const STILL = 24;
const JUST_FULL_MS = 3_000;
/** Nodes find out by two looks at the ledger, of which there is one in three seconds. */
const FOUND_MS_MAX = 15_000;
const FULL_MS = 22_000;
const CALM_MS = 1_500;
const TEST_MS_MAX = 240_000;
/** Some hundred keys, so that loading takes seconds. */
const KEY_LOAD_US = 10_000;

async function infoOf(redis: RedisServer, part: string, name: string): Promise<string> {
  const found = new RegExp(`^${name}:(.*)\r$`, "m").exec(String(await redis.ask("INFO", part)));
  return found?.[1] ?? "";
}

/** How many commands Redis has refused with this word. */
async function refusalsOf(redis: RedisServer, word: string): Promise<number> {
  const counted = await infoOf(redis, "errorstats", `errorstat_${word}`);
  return Number(/count=(\d+)/.exec(counted)?.[1] ?? 0);
}

function statusesOf(world: ClusterWorld, status: number): number {
  const statuses = [...(world.load?.taken.statuses ?? [])];
  if (process.env.STORY) console.log(JSON.stringify(Object.fromEntries(statuses)), world.load?.taken.slowest);
  return statuses.reduce((sum, [kind, times]) => sum + (kind.endsWith(` ${status}`) ? times : 0), 0);
}

test(
  `Redis full, and then with room again, under load (SEED=${SEED})`,
  async () => {
    await using world = await ClusterWorld.start({ seed: SEED });
    const { book, allowed } = world;
    const { redis } = world.stores;
    allowed.stale = true;
    allowed.unreadable = true;
    await using still = await StillCounts.make(world, STILL);
    const load = await world.startLoad();
    await using floor = await LedgerFloor.watch(world, FOUND_MS_MAX);
    for (const isPartly of [true, true, false]) {
      const before = await refusalsOf(redis, "OOM");
      load.taken.reset();
      // What Redis gives up on the way makes room for some writes and not for others, where it is only just full.
      await eventually(async () => {
        const bytes = isPartly ? Number(await infoOf(redis, "memory", "used_memory")) - 1_000 : 1;
        await redis.ask("CONFIG", "SET", "maxmemory", bytes);
        await Bun.sleep(200);
        expect(await refusalsOf(redis, "OOM")).toBeGreaterThan(before);
      });
      await Bun.sleep(isPartly ? JUST_FULL_MS : FULL_MS);
      if (!isPartly) expect(statusesOf(world, 202)).toBeGreaterThan(0);
      await redis.ask("CONFIG", "SET", "maxmemory", 0);
      await Bun.sleep(CALM_MS);
    }
    await world.stopLoad();
    await Promise.all([still.stop(), floor.stop()]);
    expect(await world.verify()).toEqual([]);
    console.log(
      `${book.answers} answers, ${book.lost} lost, ${book.refused} refused, ${still.looks} and ${floor.looks} looks`,
    );
  },
  TEST_MS_MAX,
);

test(
  `Redis that loads an older copy for seconds, under load (SEED=${SEED})`,
  async () => {
    const args = ["--key-load-delay", String(KEY_LOAD_US), "--loading-process-events-interval-bytes", "1024"];
    await using world = await ClusterWorld.start({ seed: SEED, redis: { args } });
    const { book, allowed } = world;
    const { redis } = world.stores;
    allowed.stale = true;
    allowed.unreadable = true;
    await using still = await StillCounts.make(world, STILL);
    const load = await world.startLoad();
    await using floor = await LedgerFloor.watch(world, FOUND_MS_MAX);
    const old = await redis.snapshot();
    await Bun.sleep(1_000);
    load.taken.reset();
    await redis.kill();
    const began = performance.now();
    await redis.launch({ data: old });
    await eventually(async () => expect(await redis.ask("GET", "any").catch(String)).toContain("LOADING"));
    await eventually(async () => {
      const { parts } = await world.node(0).json<{ parts: { redis: { detail?: string } } }>("/readyz");
      expect(parts.redis.detail).toMatch(/loading/i);
    });
    await redis.answers();
    console.log(`loading took ${Math.round(performance.now() - began)} ms`);
    expect(statusesOf(world, 202)).toBeGreaterThan(0);
    await Bun.sleep(CALM_MS);
    await world.stopLoad();
    await Promise.all([still.stop(), floor.stop()]);
    expect(await world.verify()).toEqual([]);
    console.log(
      `${book.answers} answers, ${book.lost} lost, ${book.refused} refused, ${still.looks} and ${floor.looks} looks`,
    );
  },
  TEST_MS_MAX,
);

test(
  "what is liked at one node while Redis is full shows at all nodes, though they only read",
  async () => {
    await using world = await ClusterWorld.start({ seed: SEED });
    const { redis } = world.stores;
    const path = "/v1/subjects/article/full";
    const like = async (actor: string) =>
      (await fetch(new URL(`${path}/likes/${actor}`, world.node(0).url), { method: "PUT" })).status;
    const likes = async (node: number) =>
      (await world.node(node).json<{ counts: { likes: number } }>(path)).counts.likes;
    await eventually(async () => expect(await like("ann")).toBe(200), 30_000);
    await eventually(async () => expect(await likes(1)).toBe(1));
    await world.settle();
    await redis.ask("CONFIG", "SET", "maxmemory", 1);
    for (const actor of ["bob", "eve"]) expect(await like(actor)).toBe(202);
    for (const node of [0, 1]) await eventually(async () => expect(await likes(node)).toBe(3));
    await redis.ask("CONFIG", "SET", "maxmemory", 0);
    await eventually(async () => expect(await like("joe")).toBe(200));
    for (const node of [0, 1]) await eventually(async () => expect(await likes(node)).toBe(4));
    expect(await world.verify()).toEqual([]);
  },
  TEST_MS_MAX,
);
