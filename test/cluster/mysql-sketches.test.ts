import { afterEach, beforeEach, expect, test } from "bun:test";
import { dayOf } from "../../src/arithmetic/days.ts";
import { checkSketches, type StoredSketchDifference } from "../../src/cluster/mysql/check-sketches.ts";
import { LedgerConnection, PATIENT } from "../../src/cluster/mysql/connection.ts";
import { MysqlLedgerWriter } from "../../src/cluster/mysql/ledger.ts";
import { eraseSketches, mergeSketches } from "../../src/cluster/mysql/sketches.ts";
import { codeOf } from "../../src/distinct/code.ts";
import { ALL_TIME } from "../../src/distinct/sketches.ts";
import type { LogRecord } from "../../src/records.ts";
import { message, NOW_MS, OwnMysql, shardOf, TOPIC, VIEWS } from "./mysql-support.ts";

const TODAY = dayOf(NOW_MS);
const DAY_MS = 86_400_000;

const mysql = new OwnMysql();
let writer: MysqlLedgerWriter;
let offset = 0;
beforeEach(() => {
  writer = new MysqlLedgerWriter(mysql.url, { now: () => NOW_MS });
});
afterEach(() => writer.close());

/** Visitors of one subject, as one message of a source of its own. */
async function visit(subject: string, actors: readonly string[], atMs = NOW_MS): Promise<void> {
  const shape = { kind: "visitor", shard: shardOf(subject), metric: VIEWS, subject, atMs } as const;
  const records: LogRecord[] = actors.map((actor, i) => ({ ...shape, n: i + 1, code: codeOf(actor) }));
  await writer.apply([message(offset, `s${++offset}`, ...records)], TOPIC);
}

async function countsOf(subject: string): Promise<(number | null)[]> {
  const sketches = [ALL_TIME, TODAY, TODAY - 1].map((day) => mysql.reader.sketch(VIEWS, subject, day));
  return (await Promise.all(sketches)).map((sketch) => sketch?.count ?? null);
}

async function using(work: (connection: LedgerConnection) => Promise<unknown>): Promise<void> {
  const connection = await LedgerConnection.open(mysql.url, PATIENT);
  await work(connection);
  connection.close();
}

async function differences(repair = false): Promise<StoredSketchDifference[]> {
  const found: StoredSketchDifference[] = [];
  for await (const difference of checkSketches(mysql.url, repair)) found.push(difference);
  return found;
}

test("pairs are asked for many at once", async () => {
  await visit("article/1", ["a", "b"]);
  await visit("article/é", ["a"], NOW_MS - DAY_MS);
  const names = ["article/1", "article/2", "article/é"].map((subject) => ({ metric: VIEWS, subject, day: TODAY }));
  const pairs = await mysql.reader.sketches([...names, ...names]);
  const counts = pairs.map(({ today, all }) => [today?.count ?? null, all?.count ?? null]);
  const expected = [
    [2, 2],
    [null, null],
    [null, 1],
  ];
  expect(counts).toEqual([...expected, ...expected]);
});

test("an erased subject has none, and a merged one has the visitors of both", async () => {
  await visit("article/1", ["a", "b", "c"]);
  await visit("article/2", ["c", "d"]);
  await visit("article/1", ["y"], NOW_MS - DAY_MS);
  await using((connection) => mergeSketches(connection, "article/1", "article/2"));
  expect(await countsOf("article/2")).toEqual([5, 4, 1]);
  expect(await countsOf("article/1")).toEqual([null, null, null]);
  await using((connection) => mergeSketches(connection, "article/1", "article/2"));
  expect(await countsOf("article/2")).toEqual([5, 4, 1]);
  await using((connection) => eraseSketches(connection, "article/2"));
  expect(await countsOf("article/2")).toEqual([null, null, null]);
});

test("a check finds sketches that are none, and days whose visitors all time lacks; a repair mends both", async () => {
  for (let i = 0; i < 120; i++) await visit(`article/${i}`, ["a", "b"]);
  await visit(
    "article/many",
    Array.from({ length: 3_500 }, (_, i) => `v${i}`),
  );
  expect(await differences()).toEqual([]);
  const damages = [
    `UPDATE sketches SET sketch = X'02FFFF' WHERE subject = 'article/77' AND day = ${TODAY}`,
    `UPDATE sketches SET sketch = X'02FFFF' WHERE subject = 'article/78' AND day = ${ALL_TIME}`,
    `DELETE FROM sketches WHERE subject = 'article/99' AND day = ${ALL_TIME}`,
    `UPDATE sketches SET sketch = X'01' WHERE subject = 'article/many' AND day = ${ALL_TIME}`,
  ];
  for (const sql of damages) await using((connection) => connection.write(sql));
  const found = (await differences(true)).map(({ subject, day, mended }) => [subject, day, mended]);
  expect(found).toEqual([
    ["article/77", TODAY, true],
    ["article/78", ALL_TIME, true],
    ["article/78", TODAY, true],
    ["article/99", TODAY, true],
    ["article/many", TODAY, true],
  ]);
  expect(await differences()).toEqual([]);
  expect(await countsOf("article/78")).toEqual([2, 2, null]);
  expect((await countsOf("article/many"))[0]).toBeWithin(3_400, 3_600);
}, 60_000);
