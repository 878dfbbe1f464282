import { afterEach, beforeEach, expect, test } from "bun:test";
import { SHARDS } from "../../src/arithmetic/shard.ts";
import { LedgerConnection, PATIENT } from "../../src/cluster/mysql/connection.ts";
import { MysqlLedgerWriter } from "../../src/cluster/mysql/ledger.ts";
import { Retirement } from "../../src/cluster/mysql/retirement.ts";
import { UPLOAD } from "../../src/ports/bulk.ts";
import { eventually } from "../support/eventually.ts";
import { message, NOW_MS, OwnMysql, subjectIn, TOPIC, VIEWS, view } from "./mysql-support.ts";

const mysql = new OwnMysql();
let nowMs: number;
let writer: MysqlLedgerWriter;
let retirement: Retirement;
beforeEach(() => {
  nowMs = NOW_MS;
  writer = new MysqlLedgerWriter(mysql.url, { now: () => nowMs });
  retirement = new Retirement(mysql.url, () => nowMs);
});
afterEach(async () => {
  await writer.close();
  retirement.close();
});

const A = subjectIn(1);
const B = subjectIn(2);

const UPLOAD_A = `${UPLOAD}A.1`;

/** Of one walk: who retired. */
async function walk(runsBeforeMs: number, walker = retirement, uploadsBeforeMs = runsBeforeMs): Promise<string[]> {
  const names: string[] = [];
  for (;;) {
    const retired = await walker.step({ runsBeforeMs, uploadsBeforeMs });
    if (retired === null) return names;
    names.push(...retired);
  }
}

async function rows(table: "sources" | "retired"): Promise<number> {
  const connection = await LedgerConnection.open(mysql.url, PATIENT);
  const [row] = await connection.ask(`SELECT COUNT(*) FROM ${table}`);
  connection.close();
  return Number(row?.[0]);
}

const lastOf = async (source: string) =>
  (await mysql.reader.lastOf([source])).map(({ shard, last }) => [shard, last]).sort();

test("a quiet source goes from all its rows into one, and the ledger knows of it what it knew", async () => {
  const all = Array.from({ length: SHARDS }, (_, shard) => subjectIn(shard));
  await writer.apply([message(0, "old", ...all.map((subject) => view(1, subject, 2)))], TOPIC);
  await writer.apply([message(1, "old", view(2, A, 1))], TOPIC);
  nowMs += 1_000;
  await writer.apply([message(2, "new", view(1, A, 1))], TOPIC);
  const before = [await lastOf("old"), await mysql.reader.shards()];
  expect(await rows("sources")).toBe(SHARDS + 1);

  expect(await walk(NOW_MS + 500)).toEqual(["old"]);
  expect([await rows("sources"), await rows("retired")]).toEqual([1, 1]);
  expect([await lastOf("old"), await mysql.reader.shards()]).toEqual(before);
  expect((await mysql.reader.versionOf(1)).version.last).toEqual([["new", 1]]);
  const asked = await mysql.reader.versionOf(1, [], [], ["old", "new", "never"]);
  expect(asked.version.last.sort()).toEqual([
    ["never", 0],
    ["new", 1],
    ["old", 2],
  ]);
  expect(await walk(NOW_MS + 500)).toEqual([]);
});

test("one that speaks again is counted from where it was: no repeat, no gap, and it retires with what it had", async () => {
  await writer.apply([message(0, "n", view(1, A, 5), view(2, A, 5), view(1, B, 7))], TOPIC);
  nowMs += 1_000;
  expect(await walk(nowMs)).toEqual(["n"]);

  // The log from its begin, and a number that lacks the one before it.
  const again = await writer.apply(
    [message(0, "n", view(1, A, 5), view(2, A, 5), view(1, B, 7)), message(1, "n", view(4, A, 100))],
    TOPIC,
  );
  expect(again).toMatchObject({ records: 0, commits: [], gaps: [{ source: "n", shard: 1, from: 3, to: 3 }] });
  expect([await mysql.reader.count(VIEWS, A), await mysql.reader.count(VIEWS, B)]).toEqual([10, 7]);
  expect([await rows("sources"), await rows("retired")]).toEqual([0, 1]);

  const more = await writer.apply([message(2, "n", view(3, A, 1))], TOPIC);
  expect(more.commits).toMatchObject([{ shard: 1, last: [["n", 3]] }]);
  expect(await mysql.reader.count(VIEWS, A)).toBe(11);
  const known = [
    [1, 3],
    [2, 1],
  ];
  expect(await lastOf("n")).toEqual(known);
  // It has just spoken; later it goes once more.
  expect(await walk(nowMs)).toEqual([]);
  nowMs += 1_000;
  expect(await walk(nowMs)).toEqual(["n"]);
  expect([await rows("sources"), await rows("retired")]).toEqual([0, 1]);
  expect(await lastOf("n")).toEqual(known);
});

test("what is applied between its look at the rows and their removal is not removed with them", async () => {
  await writer.apply([message(0, "n", view(1, A, 5), view(1, B, 7))], TOPIC);
  nowMs += 1_000;
  await walk(nowMs);
  await writer.apply([message(1, "n", view(2, A, 5))], TOPIC);
  nowMs += 1_000;
  // It stops behind its look at the rows, at what is packed of the source.
  const blocker = await LedgerConnection.open(mysql.url, PATIENT, false);
  await blocker.ask("SELECT last FROM retired WHERE source = 'n' FOR UPDATE");
  const walking = walk(nowMs);
  await eventually(async () => {
    const waiting = await blocker.ask(
      "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'SELECT last FROM retired%FOR UPDATE'",
    );
    expect(Number(waiting[0]?.[0])).toBe(1);
  });
  // Of a shard without a row, which nobody has locked; then of the one that is being put away.
  await writer.apply([message(2, "n", view(2, B, 7))], TOPIC);
  const applying = writer.apply([message(3, "n", view(3, A, 5))], TOPIC);
  await blocker.write("COMMIT");
  blocker.close();
  expect(await walking).toEqual(["n"]);
  await applying;
  await writer.apply([message(2, "n", view(2, B, 7)), message(3, "n", view(3, A, 5))], TOPIC);
  expect([await mysql.reader.count(VIEWS, A), await mysql.reader.count(VIEWS, B)]).toEqual([15, 14]);
  expect(await lastOf("n")).toEqual([
    [1, 3],
    [2, 2],
  ]);
});

test("a walk takes all sources, a few at a time, and who has no row of a shard can be told", async () => {
  const names = Array.from({ length: 40 }, (_, i) => `n${String(i).padStart(2, "0")}`);
  for (const [i, name] of [...names, UPLOAD_A, "va"].entries()) {
    await writer.apply([message(i, name, view(1, A, 1))], TOPIC);
  }
  nowMs += 1_000;
  const first = await retirement.step({ runsBeforeMs: nowMs, uploadsBeforeMs: NOW_MS });
  expect(first?.length).toBeLessThan(20);
  expect([...(first ?? []), ...(await walk(nowMs, retirement, NOW_MS))].sort()).toEqual([...names, "va"]);
  expect((await mysql.reader.sources()).map(({ source }) => source)).toEqual([UPLOAD_A]);
  expect(await retirement.rowless(1, ["n07", UPLOAD_A, "never"])).toEqual(new Set(["n07", "never"]));
  expect(await retirement.rowless(2, [UPLOAD_A])).toEqual(new Set([UPLOAD_A]));
});

test("an upload retires early, counts once however often the log is read, and is forgotten when that is over", async () => {
  const all = [message(0, UPLOAD_A, view(1, A, 5), view(1, B, 1)), message(1, "n", view(1, A, 1))];
  await writer.apply(all, TOPIC);
  nowMs += 60_000;
  await writer.apply([message(2, `${UPLOAD}B.1`, view(1, A, 1))], TOPIC);
  expect(await walk(NOW_MS, retirement, NOW_MS + 30_000)).toEqual([UPLOAD_A]);
  expect(await writer.apply(all, TOPIC)).toMatchObject({ records: 0, commits: [], gaps: [] });
  expect(await lastOf(UPLOAD_A)).toEqual([
    [1, 1],
    [2, 1],
  ]);
  await walk(nowMs, retirement, NOW_MS + 30_000);
  expect(await rows("retired")).toBe(2);
  expect(await retirement.forgetUploads(nowMs)).toBe(0);
  expect(await retirement.forgetUploads(nowMs + 1)).toBe(1);
  expect([await lastOf(UPLOAD_A), await lastOf("n")]).toEqual([[], [[1, 1]]]);
});

test("sources that retire while they speak, again and again: every number counts once", async () => {
  const sources = ["x", "y", "z"];
  const rounds = 150;
  let isOver = false;
  const walkers = [retirement, new Retirement(mysql.url)];
  const walking = walkers.map(async (walker) => {
    let retired = 0;
    while (!isOver) retired += (await walk(Number.MAX_SAFE_INTEGER, walker)).length;
    return retired;
  });
  const other = new MysqlLedgerWriter(mysql.url);
  const project = async (by: MysqlLedgerWriter) => {
    for (let n = 1; n <= rounds; n++) {
      // Each with the one before once more, as any other projector might have it.
      const numbers = [Math.max(1, n - 1), n];
      const messages = sources.flatMap((source) =>
        numbers.map((number) => message(number, source, view(number, A, 1), view(number, B, 2))),
      );
      await by.apply(messages, TOPIC);
    }
  };
  await Promise.all([project(writer), project(other)]);
  isOver = true;
  const retired = await Promise.all(walking);
  for (const walker of walkers) walker.close();
  await other.close();
  expect(Math.min(...retired)).toBeGreaterThan(10);
  expect(await mysql.reader.count(VIEWS, A)).toBe(rounds * sources.length);
  expect(await mysql.reader.count(VIEWS, B)).toBe(2 * rounds * sources.length);
  for (const source of sources) {
    expect(await lastOf(source)).toEqual([
      [1, rounds],
      [2, rounds],
    ]);
  }
}, 120_000);
