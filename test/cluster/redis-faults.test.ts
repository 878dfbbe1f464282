import { afterEach, expect, test } from "bun:test";
import { RedisHotStore } from "../../src/cluster/redis/hot-store.ts";
import { openDriver } from "../../src/cluster/redis/open-driver.ts";
import { StartError } from "../../src/errors.ts";
import { HotStoreAway, type Missing, type RelationPut } from "../../src/ports/hot-store.ts";
import { RedisCluster, RedisServer, TcpProxy, UpstashServer } from "../support/services.ts";

const VERSION = { incarnation: "i", version: 1, position: 0, last: [] };
const SHARD = 3;
const WAIT_MS_MAX = 15_000;
/** What is known needs no deadline, of 1 s: half of one is for a machine that does much else. */
const AT_ONCE_MS_MAX = 500;
/** A deadline, and as long again for such a machine. */
const DEADLINE_MS_MAX = 2_000;

const open: { close(): Promise<unknown> }[] = [];
afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each.close();
}, 30_000);

function kept<T extends { close(): Promise<unknown> }>(what: T): T {
  open.push(what);
  return what;
}

async function openStore(redisUrl: string, redisToken: string | null = null): Promise<RedisHotStore> {
  const store = kept(new RedisHotStore(openDriver({ redisUrl, redisToken }), "t"));
  await store.checkServer();
  return store;
}

function like(actor: string, n: number, shard = SHARD): { shard: number; events: RelationPut[] }[] {
  const hint = { stamp: 0, version: 1 };
  return [{ shard, events: [{ metric: 1, subject: "article/1", actor, stamp: 1_000 * n + 1, source: "s", n, hint }] }];
}

async function stampOf(store: RedisHotStore, actor: string, shard = SHARD): Promise<number | null | Missing> {
  const asked = [{ shard, counts: [], registers: [{ metric: 1, subject: "article/1", actor }] }];
  const [read] = await store.read(asked);
  return typeof read === "string" ? read : (read?.registers[0] ?? null);
}

async function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + WAIT_MS_MAX;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`${what}: not within ${WAIT_MS_MAX} ms`);
    await Bun.sleep(10);
  }
}

/** How long `work` took to be rejected for being away. */
async function awayMs(work: () => Promise<unknown>): Promise<number> {
  const from = performance.now();
  const error = await work().then(
    () => new Error("it was answered"),
    (thrown) => thrown,
  );
  if (!(error instanceof HotStoreAway)) throw error;
  return performance.now() - from;
}

test("a server that comes back empty has no copy; one with an older snapshot has a foreign one", async () => {
  const redis = kept(await RedisServer.start());
  const [one, two] = [await openStore(redis.url), await openStore(redis.url)];
  const epoch = await one.renew({ ...VERSION, shard: SHARD });
  expect(await two.renew({ ...VERSION, shard: SHARD })).toBe(epoch);
  await one.putRelations(like("kept", 1));
  const old = await redis.snapshot();
  await one.putRelations(like("lost", 2));
  const states: boolean[] = [];
  one.onState(({ up }) => states.push(up));

  await redis.kill();
  expect(await awayMs(() => stampOf(one, "kept"))).toBeLessThan(AT_ONCE_MS_MAX);
  await redis.start({ data: old });
  await until("both are back", () => one.state.up && two.state.up);
  expect(await stampOf(one, "kept")).toBe("foreign");
  expect(await two.putRelations(like("another", 3))).toEqual(["foreign"]);
  const next = await Promise.all([one, two].map((store) => store.renew({ ...VERSION, shard: SHARD })));
  expect(next[0]).toBe(next[1] as string);
  expect(next[0]).not.toBe(epoch);
  expect(await stampOf(two, "kept")).toBe(1_001);
  expect(await stampOf(two, "lost")).toBeNull();
  expect(await one.heads([SHARD, 4])).toMatchObject([{ end: Number.POSITIVE_INFINITY, epoch: next[0] }, null]);
  expect(states).toEqual([false, true]);

  await redis.kill();
  await redis.start({ data: "empty" });
  await until("both are back", () => one.state.up && two.state.up);
  expect(await stampOf(one, "kept")).toBe("none");
}, 30_000);

test("a silent server is away after a second, at once from then on, and back when it speaks", async () => {
  const redis = kept(await RedisServer.start());
  const store = await openStore(redis.url);
  await store.renew({ ...VERSION, shard: SHARD });
  await redis.pause();
  const [first, second] = await Promise.all([1, 2].map(() => awayMs(() => stampOf(store, "a"))));
  expect(first).toBeGreaterThan(900);
  expect(first).toBeLessThan(DEADLINE_MS_MAX);
  expect(second).toBeLessThan(DEADLINE_MS_MAX);
  expect(await awayMs(() => stampOf(store, "a"))).toBeLessThan(AT_ONCE_MS_MAX);
  await redis.resume();
  await until("it is back", () => store.state.up);
  expect(await stampOf(store, "a")).toBeNull();
}, 30_000);

test("a broken connection: what was under way is away, perhaps done, and may be sent again", async () => {
  const redis = kept(await RedisServer.start());
  const way = kept(await TcpProxy.start(redis.port));
  const store = await openStore(`redis://127.0.0.1:${way.port}`);
  await store.renew({ ...VERSION, shard: SHARD });
  await way.mute();
  const put = awayMs(() => store.putRelations(like("a", 1)));
  await put;
  await way.heal();
  await until("it is back", () => store.state.up);
  expect(await stampOf(store, "a")).toBe(1_001);
  const [[answer] = []] = (await store.putRelations(like("a", 1))) as [{ status: string }[]];
  expect(answer).toMatchObject({ status: "ok", seen: 1_001, stamp: 1_001 });
  const states: boolean[] = [];
  store.onState(({ up }) => states.push(up));
  await way.reset();
  await until("it has noticed and is back", () => states.length === 2);
  expect(states).toEqual([false, true]);
}, 30_000);

test("scripts that were flushed are loaded again", async () => {
  const redis = kept(await RedisServer.start());
  const rest = kept(await UpstashServer.start(redis));
  const cluster = kept(await RedisCluster.start({ replicas: false }));
  const stores = [await openStore(redis.url), await openStore(rest.url, rest.token), await openStore(cluster.url)];
  for (const store of stores) {
    for (const server of [redis, ...cluster.masters]) await server.ask("SCRIPT", "FLUSH");
    await Promise.all(Array.from({ length: 20 }, (_, shard) => store.renew({ ...VERSION, shard })));
    for (const server of [redis, ...cluster.masters]) await server.ask("SCRIPT", "FLUSH");
    const puts = Array.from({ length: 20 }, (_, shard) => like("a", 1, shard)).flat();
    expect(await store.putRelations(puts)).toMatchObject(puts.map(() => [{ status: "ok" }]));
  }
}, 60_000);

test("a server that is not fit for us is refused at the start, in words", async () => {
  const evicting = kept(await RedisServer.start({ args: ["--maxmemory-policy", "allkeys-lru"] }));
  const locked = kept(await RedisServer.start());
  await locked.ask("CONFIG", "SET", "requirepass", "secret");
  const rest = kept(await UpstashServer.start(evicting));
  const refusals: [url: string, token: string | null, error: RegExp][] = [
    [evicting.url, null, /noeviction/],
    [locked.url, null, /Redis refuses us: NOAUTH/],
    [locked.url.replace("redis://", "redis://user:wrong@"), null, /Redis refuses us: .*WRONGPASS/],
    [rest.url, rest.token, /noeviction/],
    [rest.url, "wrong", /Redis refuses us/],
  ];
  for (const [url, token, error] of refusals) {
    const problem = await openStore(url, token).catch((thrown) => thrown);
    expect(problem).toBeInstanceOf(StartError);
    expect(problem.message).toMatch(error);
  }
  await openStore(locked.url.replace("redis://", "redis://default:secret@"));
  const cluster = kept(await RedisCluster.start({ replicas: false }));
  for (const master of cluster.masters) await master.ask("CONFIG", "SET", "requirepass", "s@cret");
  for (const user of ["", "default:wrong@"]) {
    const url = cluster.url.replace("redis+cluster://", `redis+cluster://${user}`);
    const problem = await openStore(url).catch((thrown) => thrown);
    expect(problem.message).toMatch(/NOAUTH|WRONGPASS/);
    expect(problem).toBeInstanceOf(StartError);
  }
  await openStore(cluster.url.replace("redis+cluster://", "redis+cluster://:s%40cret@"));
  const nobody = await openStore("redis://127.0.0.1:1").catch((thrown) => thrown);
  expect(nobody).toBeInstanceOf(HotStoreAway);
}, 30_000);

test("a replica is not written to, and a server that becomes one is left", async () => {
  const args = ["--repl-diskless-sync-delay", "0"];
  const [old, now] = [kept(await RedisServer.start({ args })), kept(await RedisServer.start({ args }))];
  const store = await openStore(old.url);
  await store.renew({ ...VERSION, shard: SHARD });
  await old.ask("REPLICAOF", "127.0.0.1", now.port);
  await until("it is left", () => !store.state.up);
  expect(store.state.reason).toMatch(/replica|READONLY|refuses/);
  await until("it has the other's data", async () =>
    String(await old.ask("INFO", "replication")).includes("status:up"),
  );
  await old.ask("REPLICAOF", "NO", "ONE");
  await until("it is back", () => store.state.up);
  expect(await stampOf(store, "a")).toBe("none");
}, 30_000);

test("a full server is away for writes, and nothing is half done", async () => {
  const redis = kept(await RedisServer.start());
  const store = await openStore(redis.url);
  await store.renew({ ...VERSION, shard: SHARD });
  await store.putRelations(like("a", 1));
  await redis.ask("CONFIG", "SET", "maxmemory", 1);
  await awayMs(() => store.putRelations(like("b", 2)));
  expect(await stampOf(store, "b")).toBeNull();
  expect(await stampOf(store, "a")).toBe(1_001);
  await redis.ask("CONFIG", "SET", "maxmemory", 0);
  await store.putRelations(like("b", 2));
  expect(await stampOf(store, "b")).toBe(2_001);
}, 30_000);

test("behind REST, a version that goes back tells that data was lost", async () => {
  const redis = kept(await RedisServer.start());
  const rest = kept(await UpstashServer.start(redis));
  const store = await openStore(rest.url, rest.token);
  const epoch = await store.renew({ ...VERSION, shard: SHARD });
  const commit = { ...VERSION, shard: SHARD, version: 2, counts: [], registers: [], groups: [], keys: [] };
  const head = { version: 2, epoch };
  expect(await store.advance([commit])).toEqual(["unfiltered"]);
  expect(await store.heads([SHARD])).toMatchObject([head]);
  // The same server, with the data of before: nobody can tell from its identity.
  await redis.ask("HSET", "t:{03}", "version", "1");
  expect(await stampOf(store, "a")).toBe("foreign");
  const next = await store.renew({ ...VERSION, shard: SHARD });
  expect(next).not.toBe(epoch);
  expect(await store.heads([SHARD])).toMatchObject([{ version: 1, epoch: next }]);
}, 30_000);

test("behind REST, a restart is seen, and a server that is gone is away", async () => {
  const redis = kept(await RedisServer.start());
  const rest = kept(await UpstashServer.start(redis));
  const store = await openStore(rest.url, rest.token);
  await store.renew({ ...VERSION, shard: SHARD });
  const old = await redis.snapshot();
  await redis.kill();
  await redis.start({ data: old });
  await until("it is foreign", async () => (await stampOf(store, "a").catch(() => null)) === "foreign");
  await rest.kill();
  await awayMs(() => stampOf(store, "a"));
  expect(await awayMs(() => stampOf(store, "a"))).toBeLessThan(AT_ONCE_MS_MAX);
  await rest.start();
  await until("it is back", () => store.state.up);
}, 40_000);

/** A host in front of another one that does not have INFO. */
function withoutInfo(url: string): { url: string; close(): Promise<void> } {
  const host = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    async fetch(request) {
      const { pathname } = new URL(request.url);
      const command = await request.text();
      if (JSON.parse(command)[0] === "INFO")
        return Response.json({ error: "ERR unknown command 'INFO'" }, { status: 400 });
      return fetch(new URL(pathname, url), { method: "POST", headers: request.headers, body: command });
    },
  });
  return { url: String(host.url), close: () => host.stop(true) };
}

test("behind REST, a host that has no INFO can be used", async () => {
  const redis = kept(await RedisServer.start());
  const rest = kept(await UpstashServer.start(redis));
  const store = await openStore(kept(withoutInfo(rest.url)).url, rest.token);
  const epoch = await store.renew({ ...VERSION, shard: SHARD });
  expect(await store.heads([SHARD])).toMatchObject([{ epoch }]);
  expect(store.state.up).toBe(true);
}, 30_000);

test("in a cluster, what the others serve is done though one is away", async () => {
  const args = ["--cluster-require-full-coverage", "no"];
  const cluster = kept(await RedisCluster.start({ replicas: false, args }));
  const store = await openStore(cluster.url);
  const shards = Array.from({ length: 30 }, (_, shard) => shard);
  await Promise.all(shards.map((shard) => store.renew({ ...VERSION, shard })));
  const lost = await cluster.masterOf("t:{03}");
  const masters = await Promise.all(
    shards.map((shard) => cluster.masterOf(`t:{${shard.toString(16).padStart(2, "0")}}`)),
  );
  const others = shards.filter((shard) => masters[shard] !== lost);
  await lost.kill();
  await until("it is noticed", () => !store.state.up);
  const commits = shards.map((shard) => {
    return { ...VERSION, shard, version: 2, counts: [], registers: [], groups: [], keys: [] };
  });
  await awayMs(() => store.advance(commits));
  await until("they have been told", async () => {
    const heads = await store.heads(others);
    return heads.every((head) => head?.version === 2);
  });
}, 60_000);

test("in a cluster, a replica that takes over has a foreign copy, and the others' are as they were", async () => {
  const cluster = kept(await RedisCluster.start());
  const store = await openStore(cluster.url);
  const shards = Array.from({ length: 30 }, (_, shard) => shard);
  const epochs = await Promise.all(shards.map((shard) => store.renew({ ...VERSION, shard })));
  await store.putRelations(shards.flatMap((shard) => like("a", 1, shard)));
  const lost = await cluster.masterOf("t:{03}");
  const lostShards = [];
  for (const shard of shards) {
    const key = `t:{${shard.toString(16).padStart(2, "0")}}`;
    if ((await cluster.masterOf(key)) === lost) lostShards.push(shard);
  }
  await lost.kill();
  await until("it is noticed", async () => (await stampOf(store, "a").catch(() => "away")) === "away");
  await until("all are served again", () => store.state.up);
  const heads = await store.heads(shards);
  expect(shards.filter((shard) => heads[shard] === null)).toEqual(lostShards);
  const next = await Promise.all(lostShards.map((shard) => store.renew({ ...VERSION, shard })));
  for (const [i, shard] of lostShards.entries()) expect(next[i]).not.toBe(epochs[shard] as string);
  expect((await store.heads(shards)).every((head) => head !== null)).toBe(true);
}, 60_000);

test("in a cluster, a slot that moves is refused while it does, and foreign where it has come to", async () => {
  const cluster = kept(await RedisCluster.start({ replicas: false }));
  const store = await openStore(cluster.url);
  await store.renew({ ...VERSION, shard: SHARD });
  await store.putRelations(like("a", 1));
  const from = await cluster.masterOf("t:{03}");
  const to = cluster.masters.find((master) => master !== from) as RedisServer;
  const [fromId, toId] = [String(await from.ask("CLUSTER", "MYID")), String(await to.ask("CLUSTER", "MYID"))];
  const slot = Number(await from.ask("CLUSTER", "KEYSLOT", "t:{03}"));
  await to.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", fromId);
  await from.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", toId);
  // Before the first key has moved, after the head has, and after all have.
  await awayMs(() => store.putRelations(like("b", 2)));
  await from.ask("MIGRATE", "127.0.0.1", to.port, "t:{03}", 0, 1_000);
  await awayMs(() => store.putRelations(like("b", 2)));
  await awayMs(() => stampOf(store, "a"));
  for (const key of (await from.ask("CLUSTER", "GETKEYSINSLOT", slot, 100)) as string[])
    await from.ask("MIGRATE", "127.0.0.1", to.port, key, 0, 1_000);
  for (const node of [to, from, ...cluster.masters]) await node.ask("CLUSTER", "SETSLOT", slot, "NODE", toId);
  await until("it is found", async () => (await stampOf(store, "a").catch(() => null)) === "foreign");
  await store.renew({ ...VERSION, shard: SHARD });
  expect(await stampOf(store, "a")).toBe(1_001);
  expect(await stampOf(store, "b")).toBeNull();
}, 60_000);
