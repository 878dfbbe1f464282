import { expect, test } from "bun:test";
import mysql from "mysql2/promise";
import { ClusterWorld } from "../support/cluster-world.ts";
import { Connection } from "../support/connection.ts";

const READS = 10_000;
const OPENED_AT_ONCE = 500;
const PATH = "/v1/subjects/article/cold/likes";

/** So many connections: Bun's server takes one request at a time of each. */
async function connections(url: string): Promise<Connection[]> {
  const all: Connection[] = [];
  while (all.length < READS) {
    all.push(...(await Promise.all(Array.from({ length: OPENED_AT_ONCE }, () => Connection.open(url)))));
  }
  return all;
}

test(`${READS} reads at once of a count that Redis does not have make one query`, async () => {
  await using world = await ClusterWorld.start({ seed: 1, nodes: 1, consumers: 1 });
  const { url } = world.node(0);
  for (const actor of ["1", "2", "3"]) await fetch(new URL(`${PATH}/${actor}`, url), { method: "PUT" });
  await world.settle();
  await world.stores.redis.ask("FLUSHALL");
  // All of its shard but the count itself is there again.
  expect(await (await fetch(new URL(`${PATH.replace("likes", "follows")}`, url))).json()).toMatchObject({ count: 0 });

  const readers = await connections(url);
  const connection = await mysql.createConnection({ uri: world.stores.mysql.url });
  await connection.query("SET GLOBAL log_output = 'TABLE'");
  await connection.query("SET GLOBAL general_log = ON");
  const answers = await Promise.all(readers.map((reader) => reader.send("GET", PATH)));
  await connection.query("SET GLOBAL general_log = OFF");
  const expected = '200 {"subject":"article/cold","metric":"likes","count":3}';
  expect(new Set(answers.map(({ status, body }) => `${status} ${body}`))).toEqual(new Set([expected]));
  const [rows] = await connection.query(
    "SELECT argument FROM mysql.general_log WHERE argument LIKE '%FROM counts%article/cold%'",
  );
  connection.destroy();
  for (const reader of readers) reader.close();
  expect((rows as { argument: Buffer }[]).map(({ argument }) => String(argument))).toHaveLength(1);
}, 60_000);
