import { expect, test } from "bun:test";
import mysql from "mysql2/promise";
import { ClusterWorld } from "../support/cluster-world.ts";
import { Connection } from "../support/connection.ts";
import { eventually } from "../support/eventually.ts";

const READS = 10_000;
const OPENED_AT_ONCE = 500;
const ACTS = 200;
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
  const asked = await queries(world, "%FROM counts%article/cold%", async () => {
    const answers = await Promise.all(readers.map((reader) => reader.send("GET", PATH)));
    const expected = '200 {"subject":"article/cold","metric":"likes","count":3}';
    expect(new Set(answers.map(({ status, body }) => `${status} ${body}`))).toEqual(new Set([expected]));
  });
  for (const reader of readers) reader.close();
  expect(asked).toHaveLength(1);
}, 60_000);

test("of who has never liked anything the ledger is not asked, also once Redis has lost all it had", async () => {
  await using world = await ClusterWorld.start({ seed: 1, nodes: 1, consumers: 1 });
  const { url } = world.node(0);
  const path = (subject: number, actor: string) => `/v1/subjects/article/${subject % 50}/likes/${actor}${subject}`;
  const send = async (method: string, each: string) => {
    const answer = await fetch(new URL(each, url), { method });
    expect(answer.status).toBe(200);
    return answer.json();
  };
  const sendAll = (method: string, actor: string) =>
    Promise.all(Array.from({ length: ACTS }, (_, i) => send(method, path(i, actor))));
  const asked = (work: () => Promise<unknown>) => queries(world, "SELECT%FROM relations%", work);
  const likes = (actor: string) => asked(() => sendAll("PUT", actor));

  // Acts wait for the projector's first reading: on a slow machine for longer than they may, and then it is a 202.
  await eventually(() => send("PUT", "/v1/subjects/article/warm/likes/1"), 30_000);
  expect(await likes("first ")).toEqual([]);
  await world.settle();
  await world.stores.redis.ask("FLUSHALL");
  // Its commit is told to a copy that has no filter, which is filled then.
  await send("PUT", path(0, "second "));
  await eventually(async () => expect(await asked(() => send("GET", path(0, "nobody ")))).toEqual([]), 30_000);
  // All of them: a filter takes about one stranger of a hundred for its own.
  await eventually(async () => expect((await asked(() => sendAll("GET", "nobody "))).length).toBeLessThan(ACTS / 20));
  for (const answer of await sendAll("PUT", "first ")) expect(answer).toMatchObject({ changed: false });
  for (const answer of await sendAll("GET", "nobody ")) expect(answer).toMatchObject({ active: false, at: null });
  await world.settle();
  expect(await send("GET", "/v1/subjects/article/0/likes")).toMatchObject({ count: ACTS / 50 + 1 });
}, 90_000);

/** The statements like this that MySQL was asked while something was done. */
async function queries(world: ClusterWorld, like: string, work: () => Promise<unknown>): Promise<string[]> {
  const connection = await mysql.createConnection({ uri: world.stores.mysql.url });
  await connection.query("SET GLOBAL log_output = 'TABLE'");
  await connection.query("TRUNCATE mysql.general_log");
  await connection.query("SET GLOBAL general_log = ON");
  await work();
  await connection.query("SET GLOBAL general_log = OFF");
  const [rows] = await connection.query("SELECT argument FROM mysql.general_log WHERE argument LIKE ?", [like]);
  connection.destroy();
  return (rows as { argument: Buffer }[]).map(({ argument }) => String(argument));
}
