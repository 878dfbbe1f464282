import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { RedisClient } from "bun";
import { AgreedCopy } from "../../src/cluster/redis/agreed-copy.ts";
import { RedisHotStore } from "../../src/cluster/redis/hot-store.ts";
import { idHash } from "../../src/cluster/redis/names.ts";
import { openDriver } from "../../src/cluster/redis/open-driver.ts";
import type { ShardCommit, ShardRead } from "../../src/ports/hot-store.ts";
import type { StoredMetric } from "../../src/ports/metric-numbers.ts";
import { random } from "../support/random.ts";
import { RedisCluster, RedisServer, UpstashServer } from "../support/services.ts";
import { ODD_IDS, World } from "./hot-store.world.ts";

const SEED = Number(process.env.SEED ?? 1);
const PREFIX = "tally-1.x";
/** More than the split of several generations of buckets takes. */
const IDS = 3_000;
/** More than Lua unpacks at once. */
const TYPES = 9_000;

interface Server {
  driver: { redisUrl: string; redisToken: string | null };
  steps: number;
  raw(shard: number): Promise<RedisClient>;
  close(): Promise<void>;
}

async function alone(): Promise<Server> {
  const redis = await RedisServer.start();
  const raw = new RedisClient(redis.url);
  return {
    driver: { redisUrl: redis.url, redisToken: null },
    steps: 4_000,
    raw: async () => raw,
    close: async () => {
      raw.close();
      await redis.close();
    },
  };
}

async function behindRest(): Promise<Server> {
  const redis = await RedisServer.start();
  const rest = await UpstashServer.start(redis);
  const raw = new RedisClient(redis.url);
  return {
    driver: { redisUrl: rest.url, redisToken: rest.token },
    steps: 1_500,
    raw: async () => raw,
    close: async () => {
      raw.close();
      await rest.close();
      await redis.close();
    },
  };
}

async function cluster(): Promise<Server> {
  const redis = await RedisCluster.start({ replicas: false });
  const clients = new Map(redis.masters.map((master) => [master.url, new RedisClient(master.url)]));
  return {
    driver: { redisUrl: redis.url, redisToken: null },
    steps: 1_500,
    raw: async (shard) => {
      const master = await redis.masterOf(`${PREFIX}:{${shard.toString(16).padStart(2, "0")}}`);
      return clients.get(master.url) as RedisClient;
    },
    close: async () => {
      for (const client of clients.values()) client.close();
      await redis.close();
    },
  };
}

const SERVERS = { "Bun's client": alone, "Upstash REST": behindRest, "Redis Cluster": cluster };

describe.each(Object.entries(SERVERS))("RedisHotStore, %s", (_, start) => {
  let server: Server;
  let store: RedisHotStore;
  beforeAll(async () => {
    server = await start();
    store = new RedisHotStore(openDriver(server.driver), PREFIX);
    await store.checkServer();
  }, 60_000);
  afterAll(async () => {
    await store?.close();
    await server?.close();
  });

  test("does what arithmetic/shard.ts does, step by step", async () => {
    const clients = new Map<number, RedisClient>();
    const world = new World(store, random(SEED), PREFIX, async (shard) => {
      const known = clients.get(shard) ?? (await server.raw(shard));
      clients.set(shard, known);
      return known;
    });
    for (let step = 0; step < server.steps; step++) {
      try {
        await world.step();
      } catch (error) {
        throw new Error(`seed ${SEED}, step ${step}: ${error instanceof Error ? error.message : error}`);
      }
    }
    expect(store.state.up).toBe(true);
  }, 180_000);

  test("says when there is more than is asked for, and a copy that is dropped leaves nothing but what is swept", async () => {
    const shard = 79;
    const count = { metric: 1, subject: "page/a" };
    const version = { shard, incarnation: "i", version: 1, position: 0, last: [] };
    const epoch = await store.renew(version);
    await store.install(shard, version, [[1, "page/a", 5]]);
    const events = ["x", "y", "z"].map((actor, i) => {
      return { ...count, actor, stamp: 2 * i + 1, source: "s", n: i + 1, hint: { stamp: 0, version: 1 } };
    });
    await store.putRelations([{ shard, events }]);
    await store.putTallies([{ shard, group: { source: "t", n: 1, amounts: [[1, "page/b", 3]], past: true } }]);
    expect([await store.overlayOf(shard, 3), await store.actorsOnTheWay(shard, count, 2)]).toEqual(["many", "many"]);
    expect(await store.overlayOf(shard, 4)).toMatchObject({ registers: { length: 3 }, sources: ["t", "s"] });
    expect(await store.notesOnTheWay([shard, shard + 1])).toEqual([{ source: "t", shard, last: 1 }]);
    expect(await store.actorsOnTheWay(shard, count, 3)).toHaveLength(3);

    await store.dropCopy(shard, "another");
    expect(await store.overlayOf(shard, 3)).toBe("many");
    await store.dropCopy(shard, epoch);
    expect(await store.read([{ shard, counts: [count], registers: [] }])).toEqual(["none"]);
    expect(await store.renew(version)).not.toBe(epoch);
    expect(await store.overlayOf(shard, 0)).toMatchObject({ registers: [], keys: [] });
    expect(await store.read([{ shard, counts: [count], registers: [] }])).toMatchObject([{ counts: [null] }]);
    await store.install(shard, version, [[1, "page/a", 6]]);
    expect(await store.read([{ shard, counts: [count], registers: [] }])).toMatchObject([{ counts: [6] }]);
    const raw = await server.raw(shard);
    const keys = (await raw.send("KEYS", [`${PREFIX}:{4f}*`])) as string[];
    expect(keys.filter((key) => /:(?:r|tallies|names|sums|keyed|past|old)/.test(key))).toEqual([]);
  });

  test("tells what of each move is of another time, whoever is first to show it", async () => {
    const shard = 80;
    const [likes, views] = [2, 1];
    const subject = "page/a";
    const at = { shard, incarnation: "i", position: 0, last: [] as [string, number][] };
    let version = 1;
    const epoch = await store.renew({ ...at, version });
    const counts = [likes, views].map((metric) => ({ metric, subject }));
    const installed = (metric: number): [number, string, number] => [metric, subject, 10];
    await store.install(shard, { incarnation: "i", version }, [installed(likes), installed(views)]);
    const look = async () => {
      const [read] = await store.read([{ shard, counts, registers: [] }]);
      return read as ShardRead;
    };
    let before = await look();
    /** By how much likes and views have moved since, and how much of it is told to be of another time. */
    const moved = async () => {
      const now = await look();
      const [told] = await store.pastSince([{ shard, epoch, from: before.pasts, to: now.pasts }]);
      const sums = counts.map(({ metric }, i) => {
        const of = told?.moves.filter(([name]) => name === `${metric}:${subject}`) ?? [];
        return [(now.counts[i] as number) - (before.counts[i] as number), of.reduce((sum, [, by]) => sum + by, 0)];
      });
      before = now;
      return sums;
    };
    const put = (actor: string, stamp: number, n: number, past: boolean) => {
      const event = { metric: likes, subject, actor, stamp, source: "s", n, hint: { stamp: 0, version }, past };
      return store.putRelations([{ shard, events: [event] }]);
    };
    const commit = (what: Partial<ShardCommit>) =>
      store.advance([{ ...at, version: ++version, counts: [], registers: [], groups: [], keys: [], ...what }]);

    await put("then", 11, 1, true);
    await put("now", 21, 2, false);
    expect(await moved()).toEqual([
      [2, 1],
      [0, 0],
    ]);
    // The ledger takes in what is shown, an unlike of before, and one that it had before it was put.
    await commit({
      counts: [[likes, subject, 12]],
      registers: [
        [likes, subject, "then", 11, 1],
        [likes, subject, "imported", 13, 1],
        [likes, subject, "undone", 12, 0],
      ],
      last: [["s", 1]],
    });
    expect(await moved()).toEqual([
      [1, 1],
      [0, 0],
    ]);
    await put("then", 11, 1, true);
    expect(await moved()).toEqual([
      [0, 0],
      [0, 0],
    ]);
    // An import comes under an act that is on its way, and another one above it.
    await put("x", 31, 3, false);
    await put("y", 31, 4, false);
    expect(await moved()).toEqual([
      [2, 0],
      [0, 0],
    ]);
    await commit({
      counts: [[likes, subject, 13]],
      registers: [
        [likes, subject, "x", 15, 1],
        [likes, subject, "y", 40, 0],
      ],
    });
    expect(await moved()).toEqual([
      [-1, -1],
      [0, 0],
    ]);
    // Tallies: a group and a key that are shown, and those that are not.
    const group = { source: "t", n: 2, amounts: [[views, subject, 3] as [number, string, number]], past: true };
    await store.putTallies([{ shard, group }]);
    const keyed = { metric: views, subject, body: "b", atMs: 1, source: "k", n: 1, amount: 4, version, past: true };
    await store.putKeyed(shard, { ...keyed, key: "put" });
    await store.putTallies([{ shard, group: { ...group, source: "now", past: false } }]);
    // Of one step each count is one.
    expect((await look()).pasts - before.pasts).toBe(2);
    expect(await moved()).toEqual([
      [0, 0],
      [10, 7],
    ]);
    await commit({
      counts: [[views, subject, 10 + 3 + 4 + 3 + 5 + 6]],
      groups: [
        ["t", 2],
        ["u", 9],
        ["now", 2],
      ],
      keys: ["put", "not put"],
      past: { tallies: [[views, subject, 3 + 4 + 5 + 6]], names: ["2 t", "9 u", "put", "not put"] },
      last: [
        ["t", 2],
        ["now", 2],
        ["k", 1],
      ],
    });
    expect(await moved()).toEqual([
      [0, 0],
      [11, 11],
    ]);
    // Of counts that nobody has asked for nothing is told.
    const told = before.pasts;
    await commit({ registers: [[likes, "page/other", "z", 3, 1]], past: { tallies: [[3, subject, 1]], names: [] } });
    expect((await look()).pasts).toBe(told);
    // The last 1,000 are kept.
    const many = Array.from({ length: 700 }, (_, i): [number, string, number] => [views, `page/${i}`, 1]);
    for (const n of [700, 1_400]) await store.putTallies([{ shard, group: { ...group, n, amounts: many } }]);
    const { pasts } = await look();
    expect(pasts).toBe(told + 1_400);
    const [kept] = await store.pastSince([{ shard, epoch, from: told, to: pasts }]);
    expect([kept?.first, kept?.moves.length]).toEqual([told + 401, 1_000]);
    expect(await store.pastSince([{ shard, epoch, from: told, to: told + 5 }])).toEqual([
      { first: told + 401, moves: [] },
    ]);
    expect(await store.pastSince([{ shard: shard + 100, epoch, from: 0, to: 1 }])).toEqual([null]);
  });

  test("finds every base again, however many buckets there are, and gives all of them up", async () => {
    const shard = 77;
    const subjects = [...ODD_IDS, ...Array.from({ length: IDS }, (_, i) => (i % 2 ? `${i * 7}` : `é-${i}`))];
    const counts = subjects.map((id, i): [number, string, number] => [1, `page/${id}`, i]);
    const version = { shard, incarnation: "i", version: 1, position: 0, last: [] };
    await store.renew(version);
    for (let at = 0; at < counts.length; at += 100)
      expect(await store.install(shard, version, counts.slice(at, at + 100))).toBe("ok");
    const asked = counts.map(([metric, subject]) => ({ metric, subject }));
    const [read] = await store.read([{ shard, counts: asked, registers: [] }]);
    expect(read).toMatchObject({ counts: counts.map(([, , count]) => count) });

    const raw = await server.raw(shard);
    const keys = async () => (await raw.send("KEYS", [`${PREFIX}:{4d}*`])) as string[];
    expect((await keys()).length).toBeGreaterThan(IDS / 70);
    const loaded = async () => raw.send("HGET", [`${PREFIX}:{4d}`, "1:page"]);
    expect(await loaded()).toBe(String(counts.length));
    expect(await store.catchUp({ ...version, version: 2 }, [], [])).toBe(true);
    expect(await loaded()).toBeNull();
    const [after] = await store.read([{ shard, counts: asked, registers: [] }]);
    expect(after).toMatchObject({ counts: counts.map(() => null) });
    const commit = { ...version, version: 3, counts: [], registers: [], groups: [], keys: [] };
    expect(await store.advance([commit])).toEqual(["unfiltered"]);
    expect(await keys()).toEqual([`${PREFIX}:{4d}`]);
  }, 30_000);

  test("counts subjects that each have a type of their own", async () => {
    const shard = 81;
    const version = { shard, incarnation: "i", version: 1, position: 0, last: [] };
    await store.renew(version);
    const counts = Array.from({ length: TYPES }, (_, i): [number, string, number] => [1, `t${i}/x`, i + 1]);
    expect(await store.install(shard, version, counts)).toBe("ok");
    expect(await store.install(shard, version, [[1, `t${TYPES - 1}/y`, 5], ...counts])).toBe("ok");
    const group = { source: "s", n: TYPES, amounts: counts };
    const shown = counts.map(([, , count]) => 2 * count);
    expect(await store.putTallies([{ shard, group }])).toEqual([shown]);
    const asked = counts.map(([metric, subject]) => ({ metric, subject }));
    expect(await store.read([{ shard, counts: asked, registers: [] }])).toMatchObject([{ counts: shown }]);
    const after = counts.map(([metric, subject, count]): [number, string, number] => [metric, subject, 2 * count]);
    const commit = { ...version, version: 2, last: [["s", TYPES]] as [string, number][], counts: after };
    expect(await store.advance([{ ...commit, registers: [], groups: [["s", TYPES]], keys: [] }])).toEqual([
      "unfiltered",
    ]);
    expect(await store.read([{ shard, counts: asked, registers: [] }])).toMatchObject([{ counts: shown }]);
    const raw = await server.raw(shard);
    const loaded = [`1:t0`, `1:t${TYPES - 1}`].map((name) => raw.send("HGET", [`${PREFIX}:{51}`, name]));
    expect(await Promise.all(loaded)).toEqual(["1", "2"]);
  }, 30_000);

  test("keeps what nodes agreed on: numbers only come, and go with their ledger", async () => {
    const driver = openDriver(server.driver);
    await driver.checkServer();
    const copy = new AgreedCopy(driver, PREFIX);
    const views: StoredMetric = { id: 1, name: "views", kind: "tally" };
    const likes: StoredMetric = { id: 2, name: "likes", kind: "relation" };
    const read = async () => {
      const found = await copy.read();
      return found && { ...found, metrics: found.metrics.sort((a, b) => a.id - b.id) };
    };
    expect(await read()).toBeNull();
    expect(await copy.put({ incarnation: "i", metrics: [views, likes], partitions: 4 })).toBe(false);
    // Of who has started before `likes` was added.
    expect(await copy.put({ incarnation: "i", metrics: [views], partitions: 6 })).toBe(false);
    expect(await read()).toEqual({ incarnation: "i", metrics: [views, likes], partitions: 6 });
    expect(await copy.put({ incarnation: "j", metrics: [{ ...likes, id: 1 }], partitions: 6 })).toBe(true);
    expect(await read()).toEqual({ incarnation: "j", metrics: [{ ...likes, id: 1 }], partitions: 6 });
    await driver.close();
  });

  test("names a count as on its way whose acts come to nothing together", async () => {
    const shard = 78;
    await store.renew({ shard, incarnation: "i", version: 0, position: 0, last: [] });
    const name = { metric: 1, subject: "article/undone", actor: "a", source: "n", hint: null };
    for (const [n, stamp] of [2_001, 4_000].entries()) {
      await store.putRelations([{ shard, events: [{ ...name, stamp, n: n + 1 }] }]);
      expect(await store.countsOnTheWay([shard], 2)).toEqual([[{ metric: 1, subject: "article/undone" }]]);
    }
    expect(await store.countsOnTheWay([shard], 0)).toEqual(["many"]);
  });

  test("keeps a hint for a newer act", async () => {
    for (const actor of ODD_IDS.filter((id) => id.length > 5)) {
      const name = { metric: 1, subject: "article/{1}", actor };
      await store.hintActors([
        { ...name, stamp: 11 },
        { ...name, subject: "article/2", stamp: 2 ** 52 - 1 },
      ]);
      await store.hintActors([{ ...name, stamp: 9 }]);
      expect((await store.hintsOf(actor, 1)).sort()).toEqual(["article/2", "article/{1}"]);
      await store.unhintActors([{ ...name, stamp: 10 }]);
      expect(await store.hintsOf(actor, 1)).toHaveLength(2);
      await store.unhintActors([{ ...name, stamp: 11 }]);
      expect(await store.hintsOf(actor, 1)).toEqual(["article/2"]);
      expect(await store.hintsOf(actor, 2)).toEqual([]);
    }
  });
});

test("ids are spread evenly, decimals too", () => {
  for (const ids of [
    Array.from({ length: 6_400 }, (_, i) => String(i)),
    Array.from({ length: 6_400 }, () => crypto.randomUUID()),
  ]) {
    const loads = new Array<number>(64).fill(0);
    for (const id of ids) loads[idHash(id) % 64] = (loads[idHash(id) % 64] ?? 0) + 1;
    expect(Math.max(...loads)).toBeLessThan(160);
  }
});
