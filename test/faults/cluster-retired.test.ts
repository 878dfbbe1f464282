import { expect, test } from "bun:test";
import { join } from "node:path";
import { RedisClient } from "bun";
import mysql from "mysql2/promise";
import { SHARDS } from "../../src/arithmetic/shard.ts";
import { ClusterWorld } from "../support/cluster-world.ts";
import { eventually } from "../support/eventually.ts";
import { TestServer } from "../support/server.ts";

const SEED = Number(process.env.SEED ?? Date.now() % 100_000);
/** Later than the log's retention, a day, and the hour in which the first walk begins. */
const LATER_MS = 9 * 24 * 3_600_000;
const RETIRED_MS_MAX = 60_000;
/** Later than what an upload is kept for in rows of its own, not than the log. */
const LATER_TODAY_MS = 7 * 3_600_000;
const RUNS = 3;

async function ask(url: string, sql: string): Promise<string[]> {
  const connection = await mysql.createConnection({ uri: url });
  try {
    const [rows] = await connection.query({ sql, rowsAsArray: true });
    return Array.isArray(rows) ? rows.map((row) => (row as unknown[]).map(String).join(" ")) : [];
  } finally {
    connection.destroy();
  }
}

/** Everything that counts, in the ledger. */
async function ledgerOf(url: string): Promise<Record<string, string[]>> {
  return {
    counts: await ask(url, "SELECT hex(subject), metric, count FROM counts ORDER BY 1, 2"),
    relations: await ask(url, "SELECT hex(actor), hex(subject), metric, stamp FROM relations ORDER BY 1, 2, 3"),
    history: await ask(url, "SELECT hex(subject), metric, at, amount FROM history ORDER BY 1, 2, 3"),
    losses: await ask(url, "SELECT hex(source), shard, from_n, to_n FROM losses ORDER BY 1, 2, 3"),
  };
}

/** What runs of nodes have left in the stores. */
async function leftIn({ stores }: ClusterWorld): Promise<{ rows: number; sources: number; fields: number }> {
  const [text] = await ask(stores.mysql.url, "SELECT COUNT(*), COUNT(DISTINCT source) FROM sources");
  const [rows = 0, sources = 0] = (text ?? "").split(" ").map(Number);
  const client = new RedisClient(stores.redis.url);
  const heads = Array.from({ length: SHARDS }, (_, shard) => `tally:{${shard.toString(16).padStart(2, "0")}}`);
  const keys = await Promise.all(heads.map((head) => client.send("HKEYS", [head]) as Promise<string[]>));
  client.close();
  return { rows, sources, fields: keys.flat().filter((field) => field.startsWith(">")).length };
}

/** The views of every subject, as a node shows them. */
async function viewsOn(node: TestServer | null | undefined): Promise<Map<string, number>> {
  if (!node) throw new Error("there is no such node");
  const { subjects } = await node.json<{ subjects: string[] }>("/v1/subjects?limit=100");
  const views = new Map<string, number>();
  for (const subject of subjects) {
    const [type = "", id = ""] = subject.split(/\/(.*)/s);
    const { counts } = await node.json<{ counts: { views: number } }>(`/v1/subjects/${type}/${encodeURIComponent(id)}`);
    views.set(subject, counts.views);
  }
  return views;
}

/** Clients act until so many more were answered. */
async function act(world: ClusterWorld, answers: number): Promise<void> {
  const enough = world.book.answers + answers;
  await eventually(async () => expect(world.book.answers).toBeGreaterThanOrEqual(enough), 30_000);
}

/** The projector is for a while one whose clock is so far ahead. */
async function later(world: ClusterWorld, aheadMs: number, until: () => Promise<void>): Promise<void> {
  await world.stopConsumer(0);
  const data = join(world.folder, "later");
  const args = world.ways(world.nodes.length).flags;
  const projector = await TestServer.start({ command: "consume", data, args, fault: `clock:${aheadMs}` });
  try {
    await eventually(until, RETIRED_MS_MAX);
  } finally {
    await projector.stop();
  }
  await world.startConsumer(0);
}

/** As if all this was long ago everything is put away. */
function retireAll(world: ClusterWorld): Promise<void> {
  const none = { rows: 0, sources: 0, fields: 0 };
  return later(world, LATER_MS, async () => expect(await leftIn(world)).toEqual(none));
}

const POSITIONS = "SELECT number, position FROM partitions ORDER BY number";

/** The projector reads the whole log once more. */
async function replay(world: ClusterWorld): Promise<void> {
  const { url } = world.stores.mysql;
  await world.stopConsumer(0);
  const ends = await ask(url, POSITIONS);
  await ask(url, "UPDATE partitions SET position = 0");
  await world.startConsumer(0);
  await eventually(async () => expect(await ask(url, POSITIONS)).toEqual(ends), 30_000);
}

test(`runs that are over leave a row each, and whatever comes back of them counts once (SEED=${SEED})`, async () => {
  await using world = await ClusterWorld.start({ seed: SEED, consumers: 1 });
  const { allowed, stores } = world;
  allowed.stale = true;
  await world.startLoad();
  for (let run = 0; run < RUNS; run++) {
    await act(world, 100);
    await world.killNode(0);
    await world.startNode(0);
  }
  await world.stopLoad();
  await world.settle();

  // Redis as it is while much is on its way.
  await world.stopConsumer(0);
  await world.startLoad();
  await act(world, 150);
  await world.stopLoad();
  const old = await stores.redis.snapshot();
  await world.startConsumer(0);

  // A node dies with records in its outbox that the ledger has, and others that nobody else has.
  await world.startLoad();
  await act(world, 150);
  await world.ways(1).kafka.cut();
  await act(world, 150);
  await world.killNode(1);
  await world.killNode(0);
  await world.startNode(0);
  await world.stopLoad();
  await world.ways(1).kafka.heal();
  await world.settle();

  const [left, ledger] = [await leftIn(world), await ledgerOf(stores.mysql.url)];
  expect(left.sources).toBeGreaterThan(2 * (RUNS + 2));
  expect(left.rows).toBeGreaterThan(3 * left.sources);
  expect(left.fields).toBeGreaterThan(left.rows / 2);
  await retireAll(world);
  expect(await ask(stores.mysql.url, "SELECT COUNT(*) FROM retired")).toEqual([String(left.sources)]);
  expect(await ledgerOf(stores.mysql.url)).toEqual(ledger);

  // The whole log once more.
  await replay(world);
  expect(await ledgerOf(stores.mysql.url)).toEqual(ledger);
  expect(await leftIn(world)).toEqual({ rows: 0, sources: 0, fields: 0 });

  // Redis with what was on its way then of runs that have retired.
  const before = await viewsOn(world.nodes[0]);
  await stores.redis.kill();
  await stores.redis.start({ data: old });
  // The dead node, with its outbox.
  await world.startNode(1);
  await world.settle();
  for (const node of world.nodes) {
    const now = await viewsOn(node);
    expect([...before].filter(([subject, views]) => (now.get(subject) ?? 0) < views)).toEqual([]);
  }
  expect((await leftIn(world)).sources).toBeGreaterThan(0);
  expect(await world.verify()).toEqual([]);

  // All of it once more, and the nodes that live go on.
  await retireAll(world);
  await world.startLoad();
  await act(world, 150);
  await world.stopLoad();
  expect(await world.verify()).toEqual([]);
  console.log(`${left.sources} sources had ${left.rows} rows in MySQL and ${left.fields} fields in Redis`);
}, 300_000);

/** 500 views under a key, and the ledger has them. */
async function upload(world: ClusterWorld): Promise<void> {
  const lines = Array.from({ length: 500 }, (_, i) => `views article/${i % 50}`).join("\n");
  await eventually(async () => {
    const headers = { "idempotency-key": "this-morning", "content-type": "text/plain" };
    const url = new URL("/v1/events", world.node(0).url);
    const answer = await fetch(url, { method: "POST", headers, body: `${lines}\n` });
    expect(answer.status).toBe(200);
  }, 30_000);
  await world.settle();
}

test("an upload of this morning counts once, whether the log is read or the body sent once more", async () => {
  await using world = await ClusterWorld.start({ seed: SEED, nodes: 1, consumers: 1 });
  const { url } = world.stores.mysql;
  await upload(world);
  const ledger = await ledgerOf(url);
  expect(ledger.counts).toHaveLength(50);
  const sources = (table: string) => ask(url, `SELECT COUNT(*) FROM ${table} WHERE source LIKE 'u%'`);
  expect(await sources("sources")).not.toEqual(["0"]);
  await later(world, LATER_TODAY_MS, async () => expect(await sources("sources")).toEqual(["0"]));
  expect(await sources("retired")).toEqual(["1"]);
  await replay(world);
  await upload(world);
  expect(await ledgerOf(url)).toEqual(ledger);
}, 120_000);

test("an upload of last month, which the ledger has forgotten, is not sent again by its node's next start", async () => {
  await using world = await ClusterWorld.start({ seed: SEED, nodes: 1, consumers: 1 });
  const { url } = world.stores.mysql;
  await upload(world);
  const ledger = await ledgerOf(url);
  expect(ledger.counts).toHaveLength(50);
  for (const table of ["sources", "retired"]) {
    const left = `SELECT COUNT(*) FROM ${table} WHERE source LIKE 'u%'`;
    await later(world, LATER_MS, async () => expect(await ask(url, left)).toEqual(["0"]));
  }
  await world.node(0).stop();
  await world.startNode(0);
  await world.settle();
  expect(await ledgerOf(url)).toEqual(ledger);
  expect((await viewsOn(world.nodes[0])).get("article/0")).toBe(10);
}, 120_000);
