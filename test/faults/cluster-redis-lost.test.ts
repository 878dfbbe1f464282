import { expect, test } from "bun:test";
import mysql from "mysql2/promise";
import { NOTICE_MS } from "../../src/cluster/mysql/notices.ts";
import { ClusterWorld } from "../support/cluster-world.ts";
import { eventually } from "../support/eventually.ts";

const SEED = Number(process.env.SEED ?? Date.now() % 100_000);

test(`Redis empty, older, and emptied while it runs, under load (SEED=${SEED})`, async () => {
  await using world = await ClusterWorld.start({ seed: SEED });
  const { book, allowed } = world;
  const { redis, kafka } = world.stores;
  allowed.stale = true;
  await world.startLoad();
  await Bun.sleep(1_000);
  const old = await redis.snapshot();
  await Bun.sleep(700);
  await redis.kill();
  await redis.start({ data: "empty" });
  await Bun.sleep(1_500);
  await redis.kill();
  await redis.start({ data: old });
  await Bun.sleep(1_500);
  for (let flush = 0; flush < 3; flush++) {
    await redis.ask("FLUSHALL");
    await Bun.sleep(flush === 0 ? 50 : 900);
  }
  // And what only the spool and Redis had.
  await kafka.pause();
  await Bun.sleep(1_500);
  await redis.ask("FLUSHALL");
  await Bun.sleep(1_000);
  await kafka.resume();
  await Bun.sleep(1_500);
  await world.stopLoad();
  expect(await world.verify()).toEqual([]);
  console.log(`${book.answers} answers, ${book.lost} lost, ${book.refused} refused`);
}, 120_000);

/** Acts on one register, by any node: the answer with its status. */
function actsOn(world: ClusterWorld, path: string) {
  return async (node: number, method: string) => {
    const answer = await fetch(new URL(path, world.node(node).url), { method });
    return { status: answer.status, ...((await answer.json()) as { active: boolean; changed?: boolean }) };
  };
}

test("what one node alone has when Redis loses it is waited for by the others", async () => {
  await using world = await ClusterWorld.start({ seed: SEED });
  const act = actsOn(world, "/v1/subjects/article/spooled/likes/ann");
  await eventually(async () => expect((await act(1, "DELETE")).status).toBe(200), 30_000);
  await world.ways(0).kafka.cut();
  await eventually(async () => expect(await act(0, "PUT")).toMatchObject({ status: 200, active: true }));
  expect(await act(1, "PUT")).toMatchObject({ status: 200, changed: false });
  await world.stores.redis.ask("FLUSHALL");
  // Kafka, MySQL and Redis are all there for this node, and none of them has the like.
  for (const method of ["PUT", "DELETE"]) {
    const { status, changed } = await act(1, method);
    expect({ method, status, changed }).toEqual({ method, status: 202, changed: undefined });
  }
  await world.ways(0).kafka.heal();
  await world.settle();
  for (const node of [0, 1]) {
    await eventually(async () => expect(await act(node, "DELETE")).toMatchObject({ status: 200, changed: false }));
  }
}, 60_000);

test("what a killed node said of its spool holds nobody up once its next run has shipped it", async () => {
  await using world = await ClusterWorld.start({ seed: SEED, consumers: 1 });
  const act = actsOn(world, "/v1/subjects/article/left/likes/ann");
  await eventually(async () => expect((await act(1, "DELETE")).status).toBe(200), 30_000);
  await world.ways(0).kafka.cut();
  await eventually(async () => expect(await act(0, "PUT")).toMatchObject({ status: 200, active: true }));
  await world.killNode(0);
  const killed = performance.now();
  await world.stores.redis.ask("FLUSHALL");
  expect(await act(1, "DELETE")).toMatchObject({ status: 202 });
  await world.ways(0).kafka.heal();
  await world.startNode(0);
  await eventually(async () => expect((await act(1, "DELETE")).status).toBe(200));
  // Well before the row's time is out, which was renewed 2.5 seconds before at most.
  const tookMs = performance.now() - killed;
  console.log(`the others waited ${Math.round(tookMs)} ms`);
  expect(tookMs).toBeLessThan(NOTICE_MS - 5_000);
  await world.settle();
  for (const node of [0, 1]) expect(await act(node, "DELETE")).toMatchObject({ status: 200, changed: false });
}, 60_000);

test("what the ledger took while Redis was away from all who knew of it shows once Redis is back", async () => {
  await using world = await ClusterWorld.start({ seed: SEED, consumers: 1 });
  const path = "/v1/subjects/article/quiet/views";
  const views = async (node: number) => (await world.node(node).json<{ count: number }>(path)).count;
  const view = () => fetch(new URL(path, world.node(0).url), { method: "POST" });
  await view();
  await eventually(async () => expect(await views(1)).toBe(1));
  await world.settle();
  const ways = [world.ways(0).redis, world.ways(2).redis];
  await Promise.all(ways.map((way) => way.cut()));
  await view();
  const connection = await mysql.createConnection({ uri: world.stores.mysql.url });
  await eventually(async () => {
    const [rows] = await connection.query("SELECT count FROM counts WHERE subject = 'article/quiet'");
    expect(rows).toMatchObject([{ count: 2 }]);
  });
  connection.destroy();
  await Promise.all(ways.map((way) => way.heal()));
  // Nothing more happens there, and this node knows nothing of it: only the projector can know that the copy is behind.
  await eventually(async () => expect(await views(1)).toBe(2));
  expect(await views(0)).toBe(2);
}, 60_000);

test("acts of just now are there again some seconds after Redis has lost them, though no projector runs", async () => {
  await using world = await ClusterWorld.start({ seed: SEED, nodes: 1, consumers: 1 });
  const subject = "/v1/subjects/article/lately";
  const act = actsOn(world, `${subject}/likes/ann`);
  await eventually(async () => expect((await act(0, "DELETE")).status).toBe(200), 30_000);
  await world.settle();
  await world.stopConsumer(0);
  expect(await act(0, "PUT")).toMatchObject({ status: 200, changed: true });
  await world.stores.redis.ask("FLUSHALL");
  const likes = async () => (await world.node(0).json<{ counts: { likes: number } }>(subject)).counts.likes;
  await eventually(async () => expect(await likes()).toBe(1), 15_000);
  await world.startConsumer(0);
  await world.settle();
  expect(await likes()).toBe(1);
  expect(await world.verify()).toEqual([]);
}, 60_000);
