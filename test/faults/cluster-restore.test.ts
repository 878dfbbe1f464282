import { expect, test } from "bun:test";
import mysql from "mysql2/promise";
import { filled, shows, verifies } from "../support/admin-cluster.ts";
import { ask, done, fill, JOBS, pathOf, send } from "../support/admin-life.ts";
import { AdminModel } from "../support/admin-model.ts";
import { ClusterWorld, metricsOf } from "../support/cluster-world.ts";
import { eventually } from "../support/eventually.ts";
import type { TestServer } from "../support/server.ts";

const SEED = Number(process.env.SEED ?? Date.now() % 100_000);
const MISSING_MS = 1_500;
/** What makes the ledger; `relations` without what it works out itself. */
const TABLES: Record<string, string> = {
  shards: "*",
  partitions: "*",
  sources: "*",
  counts: "*",
  history: "*",
  floors: "*",
  "`keys`": "*",
  changes: "*",
  ranked: "*",
  steps: "*",
  step_subjects: "*",
  relations: "actor, subject, metric, stamp",
};

/** In one transaction. */
async function inOne(url: string, statements: string[]): Promise<void> {
  const connection = await mysql.createConnection({ uri: url });
  try {
    await connection.beginTransaction();
    for (const sql of statements) await connection.query(sql);
    await connection.commit();
  } finally {
    connection.destroy();
  }
}

const backupOf = (table: string) => `\`backup_${table.replaceAll("`", "")}\``;

function backUp(url: string): Promise<void> {
  const tables = Object.entries(TABLES);
  return inOne(
    url,
    tables.map(([table, columns]) => `CREATE TABLE ${backupOf(table)} AS SELECT ${columns} FROM ${table}`),
  );
}

function restore(url: string): Promise<void> {
  const tables = Object.entries(TABLES);
  return inOne(
    url,
    tables.flatMap(([table, columns]) => [
      `DELETE FROM ${table}`,
      `INSERT INTO ${table} ${columns === "*" ? "" : `(${columns})`} SELECT * FROM ${backupOf(table)}`,
    ]),
  );
}

/** What is ranked is what is counted: all of it is of today. */
async function ranks(server: TestServer): Promise<void> {
  await eventually(async () => {
    for (const metric of ["views", "likes"]) {
      const { items } = await server.json<{ items: { subject: string; count: number }[] }>(
        `/v1/top/article/${metric}?window=24h`,
      );
      const ranked = items.map(({ subject, count }) => [subject, count]);
      const counted = await Promise.all(
        items.map(async ({ subject }) => {
          const [type, id] = subject.split("/") as [string, string];
          const { counts } = await server.json<{ counts: Record<string, number> }>(
            `/v1/subjects/${type}/${encodeURIComponent(id)}`,
          );
          return [subject, counts[metric] ?? 0];
        }),
      );
      expect([metric, ranked]).toEqual([metric, counted]);
    }
  });
}

test(`what was erased does not come back with an older ledger and the log (SEED=${SEED})`, async () => {
  await using world = await ClusterWorld.start({ seed: SEED, consumers: 1 });
  const { url } = world.stores.mysql;
  const model = new AdminModel();
  await filled(world, 0, model, 0);
  await backUp(url);
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
  await restore(url);
  await world.startConsumer(0);
  for (const node of [0, 1]) await world.startNode(node);
  for (const node of [0, 1]) await shows(world.node(node), model);
  await verifies(world);

  // Late, and played again from the very first.
  const old = { at: new Date(Date.now() - 3600_000).toISOString() };
  expect(await send(world.node(0), "PUT", `${pathOf("article/two")}/likes/x`, old)).toBe(200);
  await world.stopConsumer(0);
  await inOne(url, ["UPDATE partitions SET position = 0"]);
  await world.startConsumer(0);
  await world.settle();
  for (const node of [0, 1]) await shows(world.node(node), model);
  await verifies(world);
}, 300_000);

test(`servers that run go on with an older ledger, and with another one (SEED=${SEED})`, async () => {
  await using world = await ClusterWorld.start({ seed: SEED });
  const { url } = world.stores.mysql;
  const model = new AdminModel();
  await backUp(url);
  await filled(world, 0, model, 0);
  for (const trouble of ["older", "other"]) {
    await filled(world, 1, model, 1);
    expect(await ask(world.node(0), "merge")).toBe(200);
    done(model, "merge");
    await filled(world, 0, model, 2);
    // What was shown before they began anew must not keep them from showing less.
    for (const node of [0, 1]) await world.killNode(node);
    for (const node of [0, 1]) await world.startNode(node);
    for (const node of [0, 1]) await shows(world.node(node), model);
    for (const node of [0, 1]) await ranks(world.node(node));

    await restore(url);
    if (trouble === "other") await inOne(url, ["UPDATE incarnations SET name = 'other'"]);
    for (const node of [0, 1]) await shows(world.node(node), model);
    await verifies(world);
    for (const node of [0, 1]) await ranks(world.node(node));
    await filled(world, 0, model, 3);
    for (const node of [0, 1]) await ranks(world.node(node));
    await verifies(world);
  }
}, 300_000);

test(`a table that is missing for a while sets no message aside (SEED=${SEED})`, async () => {
  await using world = await ClusterWorld.start({ seed: SEED });
  const { url } = world.stores.mysql;
  const model = new AdminModel();
  await filled(world, 0, model, 0);
  for (const [round, table] of ["relations", "shards", "counts"].entries()) {
    await inOne(url, [`RENAME TABLE ${table} TO gone`]);
    const filling = fill(world.node(round % 2), model, 1 + round);
    await Bun.sleep(MISSING_MS);
    await inOne(url, [`RENAME TABLE gone TO ${table}`]);
    await filling;
    for (const node of [0, 1]) await shows(world.node(node), model);
  }
  await verifies(world);
  for (const node of [0, 1]) expect((await metricsOf(world.node(node))).get("tally_dead_letters_total")).toBe(0);
}, 300_000);
