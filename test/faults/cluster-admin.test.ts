import { expect, test } from "bun:test";
import mysql from "mysql2/promise";
import { ask, done, expected, fill, JOBS, type Job, pathOf, send, shown } from "../support/admin-life.ts";
import { AdminModel } from "../support/admin-model.ts";
import { ClusterWorld } from "../support/cluster-world.ts";
import { eventually } from "../support/eventually.ts";
import { CLUSTER_ADMIN_POINTS } from "../support/fault-points.ts";
import { random } from "../support/random.ts";
import { runTally, type TestServer } from "../support/server.ts";

const SEED = Number(process.env.SEED ?? Date.now() % 100_000);
const SHOWN_MS_MAX = 30_000;
/** What makes the ledger; `relations` without what it works out itself. */
const TABLES: Record<string, string> = {
  shards: "*",
  partitions: "*",
  sources: "*",
  counts: "*",
  history: "*",
  floors: "*",
  "`keys`": "*",
  relations: "actor, subject, metric, stamp",
};

/** What one node shows after the flushes of the others, and once a dead projector's session has ended. */
async function shows(server: TestServer, model: AdminModel): Promise<void> {
  await eventually(async () => expect(await shown(server)).toEqual(expected(model)), SHOWN_MS_MAX);
}

async function verifies(world: ClusterWorld): Promise<void> {
  await world.settle();
  const { status, stdout, stderr } = await runTally(["verify", ...world.stores.flags]);
  expect([status, stdout, stderr]).toEqual([0, expect.stringContaining("0 differences"), expect.anything()]);
}

async function all(url: string, statements: string[]): Promise<void> {
  const connection = await mysql.createConnection({ uri: url });
  try {
    for (const sql of statements) await connection.query(sql);
  } finally {
    connection.destroy();
  }
}

/** Everything is flushed: what one node has counted the other's erasure takes. */
async function filled(world: ClusterWorld, node: number, model: AdminModel, round: number): Promise<void> {
  await fill(world.node(node), model, round);
  for (const each of [0, 1]) await shows(world.node(each), model);
  await world.settle();
}

/** Its first node dies at `point`, and starts as any other where that is empty. */
function mortalWorld(mortal: { readonly point: string }): Promise<ClusterWorld> {
  const env = (node: number): Record<string, string> =>
    node === 0 && mortal.point !== "" ? { FAULT_POINT: mortal.point } : {};
  return ClusterWorld.start({ seed: SEED, isFaulty: true, env });
}

/** It is asked, and dies at `point`; then it starts again. */
async function diesOf(world: ClusterWorld, job: Job, { mortal, point }: { mortal: { point: string }; point: string }) {
  await world.killNode(0);
  mortal.point = point;
  await world.startNode(0);
  const node = world.node(0);
  expect(await ask(node, job)).toBeNull();
  expect(await node.ended).toMatchObject({ signal: "SIGKILL" });
  mortal.point = "";
  await world.startNode(0);
}

test(`a node that dies while it asks for it: done again it is done (SEED=${SEED})`, async () => {
  const mortal = { point: "" };
  await using world = await mortalWorld(mortal);
  const model = new AdminModel();
  let round = 0;
  for (const job of JOBS) {
    for (const point of CLUSTER_ADMIN_POINTS) {
      await filled(world, 1, model, round++);
      await diesOf(world, job, { mortal, point });
      // The dead node's projector has some partitions until its session ends.
      expect([200, 202]).toContain((await ask(world.node(0), job)) as number);
      done(model, job);
      for (const node of [0, 1]) await shows(world.node(node), model);
    }
  }
  await verifies(world);
}, 600_000);

test(`a node that dies once it is in its outbox: it is done by itself (SEED=${SEED})`, async () => {
  const mortal = { point: "" };
  await using world = await mortalWorld(mortal);
  const model = new AdminModel();
  for (const [round, job] of JOBS.entries()) {
    await filled(world, 1, model, round);
    await diesOf(world, job, { mortal, point: "cluster-admin.appended" });
    done(model, job);
    for (const each of [0, 1]) await shows(world.node(each), model);
  }
  await verifies(world);
}, 300_000);

test(`the projector dies, and Redis loses everything, in the midst of it (SEED=${SEED})`, async () => {
  const dice = random(SEED);
  await using world = await ClusterWorld.start({ seed: SEED, consumers: 1 });
  const model = new AdminModel();
  let round = 0;
  for (const job of JOBS) {
    for (const trouble of ["projector", "redis"]) {
      await filled(world, round % 2, model, round++);
      const asked = ask(world.node(round % 2), job);
      await Bun.sleep(dice.below(300));
      if (trouble === "redis") await world.stores.redis.ask("FLUSHALL");
      else {
        await world.killConsumer(0);
        await world.startConsumer(0);
      }
      expect([200, 202]).toContain((await asked) as number);
      done(model, job);
      for (const node of [0, 1]) await shows(world.node(node), model);
    }
  }
  await verifies(world);
}, 300_000);

test(`what was erased does not come back with an older ledger and the log (SEED=${SEED})`, async () => {
  await using world = await ClusterWorld.start({ seed: SEED, consumers: 1 });
  const { url } = world.stores.mysql;
  const model = new AdminModel();
  await filled(world, 0, model, 0);
  await all(
    url,
    Object.entries(TABLES).flatMap(([table, columns]) => [
      `CREATE TABLE \`backup_${table.replaceAll("`", "")}\` AS SELECT ${columns} FROM ${table}`,
    ]),
  );
  await filled(world, 1, model, 1);
  for (const [i, job] of JOBS.entries()) {
    expect(await ask(world.node(i % 2), job)).toBe(200);
    done(model, job);
    for (const node of [0, 1]) await shows(world.node(node), model);
  }
  await filled(world, 0, model, 2);
  expect(await ask(world.node(0), "erase-actor")).toBe(200);
  done(model, "erase-actor");
  for (const node of [0, 1]) await shows(world.node(node), model);
  await world.settle();

  for (const node of [0, 1]) await world.killNode(node);
  await world.stopConsumer(0);
  await all(url, [
    ...Object.entries(TABLES).flatMap(([table, columns]) => [
      `DELETE FROM ${table}`,
      `INSERT INTO ${table} ${columns === "*" ? "" : `(${columns})`} SELECT * FROM \`backup_${table.replaceAll("`", "")}\``,
    ]),
    "UPDATE incarnations SET name = 'restored'",
  ]);
  await world.startConsumer(0);
  for (const node of [0, 1]) await world.startNode(node);
  for (const node of [0, 1]) await shows(world.node(node), model);
  await verifies(world);

  // Late, and played again from the very first.
  const old = { at: new Date(Date.now() - 3600_000).toISOString() };
  expect(await send(world.node(0), "PUT", `${pathOf("article/two")}/likes/x`, old)).toBe(200);
  await world.stopConsumer(0);
  await all(url, ["UPDATE partitions SET position = 0"]);
  await world.startConsumer(0);
  await world.settle();
  for (const node of [0, 1]) await shows(world.node(node), model);
  await verifies(world);
}, 300_000);
