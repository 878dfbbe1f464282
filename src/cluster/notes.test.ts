import { afterEach, beforeEach, expect, spyOn, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { shardOf } from "../arithmetic/shard-of.ts";
import type { LogRecord } from "../records.ts";
import { Leaving } from "../tallies/leaving.ts";
import { CounterTable } from "../tallies/table.ts";
import { PRESSURE } from "../tallies/threads.ts";
import { Freshness } from "./freshness.ts";
import { groupsOf, Notes } from "./notes.ts";

const VIEWS = 1;
const SUBJECT = "article/1";
const SHARD = shardOf(SUBJECT);
const MILLION = 1_000_000;

let folder: string;
let table: CounterTable;
let freshness: Freshness;
let notes: Notes;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tally-notes-"));
  const path = join(folder, "counters.tally");
  table = CounterTable.create({ path, countersMax: 100, source: "0123456789abcdef", nowMs: 5 });
  freshness = new Freshness(Freshness.allocate(table.slotsMax));
  notes = new Notes({ table, freshness });
});
afterEach(() => {
  table.close();
  rmSync(folder, { recursive: true });
});

function claimed(subject = SUBJECT): number {
  const slot = table.claim(VIEWS, subject);
  table.install(slot, 0, freshness.begin);
  return slot;
}

/** As the flusher and the log thread do it: what the slot owes stands in the outbox. */
function noted(slot: number, subject = SUBJECT): LogRecord[] {
  const amount = table.owed(slot);
  const notedAfter = table.notedAfter(slot, amount);
  const head = { shard: shardOf(subject), n: 1, metric: VIEWS, subject, once: undefined };
  const records: LogRecord[] = [{ kind: "tally", ...head, amount, atMs: 0, slot, notedAfter }];
  notes.appended(records);
  table.setNoted(slot, notedAfter);
  return records;
}

/** Redis has taken the note, and says what its count is now. */
function put(records: LogRecord[], count: number, how: { run?: number; tick?: number } = {}): void {
  const { run = notes.runOf(SHARD), tick = freshness.tick() } = how;
  for (const { shard, group } of groupsOf("run", records)) notes.confirm(shard, { run, group, counts: [count], tick });
}

/** A reading of Redis, as any request thread makes it. */
function read(slot: number, count: number): boolean {
  const seq = freshness.seq(SHARD);
  return seq % 2 === 0 && freshness.take(table, slot, { count, asked: freshness.tick(), shard: SHARD, seq });
}

/** Adds a thousand million as often, each with a note of its own. */
function addAndNote(slot: number, subject: string, times: number): void {
  for (let i = 1; i <= times * 1_000; i++) {
    table.add(slot, MILLION);
    if (i % 1_000 === 0) noted(slot, subject);
  }
}

/** Lets everything go that may. */
function leaveAll(): void {
  const leaving = new Leaving(table, { logHead: () => 1, applied: () => 1 });
  for (let now = 0; table.stats().counters > 0 && now < 1e6; now += 60) {
    Atomics.store(table.control, PRESSURE, 1);
    leaving.step(now);
  }
}

test("what was counted while Redis was away is shown once, be it more than 2^31", () => {
  for (const times of [1, 3, 4, 5, 7]) {
    const subject = `article/${times}`;
    const shard = shardOf(subject);
    const slot = claimed(subject);
    addAndNote(slot, subject, times);
    expect(notes.confirmAll(shard, notes.lastOf(shard))).toBe(true);
    const count = 5 + times * 1_000 * MILLION;
    expect(freshness.take(table, slot, { count, asked: freshness.tick(), shard, seq: freshness.seq(shard) })).toBe(
      true,
    );
    expect([times, table.shown(slot)]).toEqual([times, count]);
    table.add(slot, 1);
    expect(table.shown(slot)).toBe(count + 1);
  }
});

test("a note of a slot's former owner says nothing of the next one", () => {
  const slot = claimed();
  table.add(slot, 3);
  noted(slot);
  leaveAll();
  const next = claimed("article/2");
  expect(next).toBe(slot);
  expect(freshness.pushed(next)).toBe(3);
  table.add(next, 4);
  noted(next, "article/2");
  const other = shardOf("article/2");
  expect(notes.confirmAll(other, notes.lastOf(other))).toBe(true);
  expect(freshness.pushed(next)).toBe(7);
  expect(notes.confirmAll(SHARD, notes.lastOf(SHARD))).toBe(true);
  expect(freshness.pushed(next)).toBe(7);
});

test("what a put has answered from before a set, which is shown by now, is not shown again", () => {
  const slot = claimed();
  expect(read(slot, 5_000)).toBe(true);
  table.add(slot, 2);
  const records = noted(slot);
  const [run, tick] = [notes.runOf(SHARD), freshness.tick()];
  // Another thread has been told that Redis shows the set.
  freshness.renew(SHARD);
  freshness.forget(slot);
  put(records, 5_002, { run, tick });
  expect(freshness.isKnown(slot)).toBe(false);
  expect(read(slot, 1_200)).toBe(true);
  expect(table.shown(slot)).toBe(1_200);
});

test("the answer of a put is a reading, where nothing else has changed", () => {
  const slot = claimed();
  table.add(slot, 2);
  const records = noted(slot);
  expect(read(slot, 40)).toBe(false);
  table.add(slot, 3);
  put(records, 42);
  expect([freshness.isKnown(slot), table.shown(slot)]).toEqual([true, 45]);
});

test("a clock that is set back makes nothing younger, and what is read after it is believed", () => {
  const slot = claimed();
  const began = Date.now();
  const clock = spyOn(Date, "now").mockImplementation(() => began + 3_600_000);
  try {
    expect(read(slot, 7)).toBe(true);
    expect(freshness.ageMs(slot)).toBe(0);
    clock.mockImplementation(() => began);
    expect(freshness.ageMs(slot)).toBe(Number.POSITIVE_INFINITY);
    expect(read(slot, 9)).toBe(true);
    expect([table.shown(slot), freshness.ageMs(slot)]).toEqual([9, 0]);
    clock.mockImplementation(() => began + 1_000);
    expect(freshness.ageMs(slot)).toBeWithin(900, 1_100);
  } finally {
    clock.mockRestore();
  }
});
