import type { Database } from "bun:sqlite";
import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { dayOf } from "../arithmetic/days.ts";
import { codeOf } from "../distinct/code.ts";
import { Sketch } from "../distinct/sketch.ts";
import { ALL_TIME } from "../distinct/sketches.ts";
import { BatchBuilder } from "../projector/batch.ts";
import type { LogRecord } from "../records.ts";
import { checkLedger, repairLedger } from "./check.ts";
import { openWriting, SqliteLedgerWriter } from "./ledger.ts";
import { prepareLedger, shareLedger } from "./open-ledger.ts";
import { SqliteLedgerReader } from "./reads.ts";

const NOW_MS = Date.UTC(2026, 11, 31, 23, 59);
const DAY_MS = 86_400_000;
const TODAY = dayOf(NOW_MS);
let folder: string;
let writer: SqliteLedgerWriter;
let reader: SqliteLedgerReader;
let n = 0;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tally-sketches-"));
  const path = join(folder, "ledger.db");
  prepareLedger(path);
  const share = shareLedger(path);
  writer = new SqliteLedgerWriter(path, share);
  reader = new SqliteLedgerReader(path, share);
  n = 0;
});
afterEach(() => {
  reader.close();
  writer.close();
  rmSync(folder, { recursive: true });
});

function visitor(actor: string, { subject = "article/1", metric = 1, atMs = NOW_MS } = {}): LogRecord {
  return { kind: "visitor", shard: 3, n: ++n, metric, subject, code: codeOf(actor), atMs };
}

function apply(records: LogRecord[], nowMs = NOW_MS): void {
  const builder = new BatchBuilder(writer);
  builder.add({ source: "s", records }, writer.position() + 1);
  writer.apply(builder.finish(nowMs));
}

function countOf(day: number, subject = "article/1", metric = 1): number | undefined {
  return reader.sketch(metric, subject, day)?.count;
}

test("visitors are in the sketch of their day and in that of all time, each name for itself", () => {
  apply([
    visitor("a"),
    visitor("b"),
    visitor("a"),
    visitor("a", { subject: "article/é" }),
    visitor("a", { metric: 2 }),
  ]);
  apply([visitor("c"), visitor("b", { atMs: NOW_MS - DAY_MS })]);
  expect([countOf(TODAY), countOf(TODAY - 1), countOf(ALL_TIME)]).toEqual([3, 1, 3]);
  expect([countOf(ALL_TIME, "article/é"), countOf(TODAY, "article/1", 2)]).toEqual([1, 1]);
  expect(countOf(ALL_TIME, "article/2")).toBeUndefined();
  apply([visitor("c", { atMs: NOW_MS + 60_000 })], NOW_MS + 60_000);
  expect([countOf(TODAY + 1), countOf(TODAY), countOf(ALL_TIME)]).toEqual([1, 3, 3]);
});

test("a record that comes twice changes nothing, and one by one is as many at once", () => {
  const actors = Array.from({ length: 4_000 }, (_, i) => `v${i}`);
  const records = actors.map((actor) => visitor(actor));
  apply(records);
  const before = reader.sketch(1, "article/1", ALL_TIME)?.encode();
  apply(records);
  expect(reader.sketch(1, "article/1", ALL_TIME)?.encode()).toEqual(before as Uint8Array);
  for (let i = 0; i < 4_000; i += 100) {
    apply(actors.slice(i, i + 100).map((actor) => visitor(actor, { subject: "article/2" })));
  }
  expect(reader.sketch(1, "article/2", TODAY)?.encode()).toEqual(before as Uint8Array);
  const sketch = new Sketch();
  for (const actor of actors) sketch.add(codeOf(actor));
  expect(before).toEqual(sketch.encode());
});

test("an erased subject's sketches go, a merged one's are united with the other's, an erased actor changes none", () => {
  const job = { shard: 3, metric: 0, stamp: 2_001 } as const;
  apply([visitor("a"), visitor("b"), visitor("b", { subject: "article/2" }), visitor("c", { subject: "article/2" })]);
  apply([visitor("a", { subject: "article/2", atMs: NOW_MS - DAY_MS }), visitor("z", { metric: 2 })]);
  apply([{ kind: "erase", n: ++n, subject: "", actor: "a", ...job }]);
  expect([countOf(ALL_TIME), countOf(TODAY)]).toEqual([2, 2]);
  apply([visitor("d"), { kind: "merge", n: ++n, subject: "article/1", to: "article/2", ...job }]);
  expect([ALL_TIME, TODAY, TODAY - 1].map((day) => countOf(day, "article/2"))).toEqual([4, 4, 1]);
  expect([countOf(ALL_TIME, "article/2", 2), countOf(ALL_TIME)]).toEqual([1, undefined]);
  apply([visitor("e", { subject: "article/2" }), { kind: "erase", n: ++n, subject: "article/2", actor: "", ...job }]);
  expect([ALL_TIME, TODAY, TODAY - 1].map((day) => countOf(day, "article/2"))).toEqual([
    undefined,
    undefined,
    undefined,
  ]);
  apply([visitor("a", { subject: "article/2" })]);
  expect(countOf(ALL_TIME, "article/2")).toBe(1);
});

test("a check finds sketches that are none, and days whose visitors all time lacks; a repair mends both", () => {
  const path = join(folder, "ledger.db");
  const many = Array.from({ length: 3_500 }, (_, i) => visitor(`v${i}`, { subject: "article/many" }));
  apply([...many, visitor("a"), visitor("b"), visitor("c", { atMs: NOW_MS - DAY_MS })]);
  expect([...checkLedger(path)]).toEqual([]);
  const one = "WHERE subject = 'article/1'";
  for (const [sql, days] of [
    [`UPDATE sketches SET sketch = x'02ffff' ${one} AND day = ${TODAY}`, [TODAY]],
    [`UPDATE sketches SET sketch = x'02ffff' ${one} AND day = ${ALL_TIME}`, [ALL_TIME, TODAY - 1, TODAY]],
    [`DELETE FROM sketches ${one} AND day = ${ALL_TIME}`, [TODAY - 1, TODAY]],
    [`UPDATE sketches SET sketch = x'01' WHERE subject = 'article/many' AND day = ${ALL_TIME}`, [TODAY]],
  ] as const) {
    writing((db) => db.run("BEGIN IMMEDIATE; CREATE TABLE kept AS SELECT * FROM sketches; COMMIT"));
    writing((db) => db.run(sql));
    const found = [...checkLedger(path)];
    expect([sql, found.map((it) => (it.what === "sketch" ? it.day : it))]).toEqual([sql, [...days]]);
    expect(repairLedger(path, found)).toEqual([]);
    expect([sql, ...checkLedger(path)]).toEqual([sql]);
    writing((db) => db.run("DELETE FROM sketches; INSERT INTO sketches SELECT * FROM kept; DROP TABLE kept"));
  }
});

function writing(change: (db: Database) => void): void {
  const db = openWriting(join(folder, "ledger.db"));
  change(db);
  db.close(true);
}

test("days before yesterday go, in slices, and are not made again; all time stays", () => {
  const subjects = Array.from({ length: 1_200 }, (_, i) => `article/${i}`);
  apply(subjects.map((subject) => visitor("a", { subject })));
  const prune = (nowMs: number) => {
    while (writer.tidy(nowMs));
  };
  prune(NOW_MS + DAY_MS);
  expect(countOf(TODAY, "article/7")).toBe(1);
  prune(NOW_MS + 2 * DAY_MS);
  for (const subject of subjects) {
    expect([countOf(TODAY, subject), countOf(ALL_TIME, subject)]).toEqual([undefined, 1]);
  }
  apply([visitor("b")], NOW_MS + 2 * DAY_MS);
  expect([countOf(TODAY), countOf(ALL_TIME)]).toEqual([undefined, 2]);
});
