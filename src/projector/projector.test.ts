import { describe, expect, test } from "bun:test";
import { type Applied, type Batch, LedgerUnavailable } from "../ports/ledger.ts";
import type { LoggedFrame, LogReader } from "../ports/log.ts";
import { FrameWriter, type LogRecord, NO_SLOT } from "../records.ts";
import { BatchBuilder } from "./batch.ts";
import { ProjectorControl } from "./control.ts";
import { Lag } from "./lag.ts";
import { Projector, type ProjectorEvents, type SyncLedgerWriter } from "./projector.ts";

const NOW_MS = Date.UTC(2026, 10, 20, 12, 59, 59);
const view = (n: number, amount: number, atMs = NOW_MS): LogRecord => {
  return { kind: "tally", shard: 3, n, metric: 1, subject: "article/1", amount, atMs, slot: NO_SLOT, notedAfter: 0 };
};
const like = (n: number, actor: string, stamp: number): LogRecord => {
  return { kind: "relation", shard: 3, n, metric: 2, subject: "article/1", actor, stamp };
};
const fresh = { last: () => 0 };

describe("a batch", () => {
  test("holds each register once, with its highest stamp, sorted", () => {
    const builder = new BatchBuilder(fresh);
    builder.add({ source: "a", records: [like(1, "z", 5), like(2, "b", 7), like(3, "z", 9), like(4, "z", 6)] }, 10);
    const { registers, sources, shards, position } = builder.finish(NOW_MS);
    expect(registers.map(({ actor, stamp }) => [actor, stamp])).toEqual([
      ["b", 7],
      ["z", 9],
    ]);
    expect(sources).toEqual([{ source: "a", shard: 3, last: 4 }]);
    expect([shards, position]).toEqual([[[3, 9]], 10]);
  });

  test("knows the way of a register: rising stamps in the log's order", () => {
    const builder = new BatchBuilder(fresh);
    builder.add({ source: "a", records: [like(1, "z", 7), like(2, "z", 5), like(3, "b", 9), like(4, "z", 8)] }, 10);
    builder.add({ source: "b", records: [like(1, "z", 11), like(2, "z", 11), like(3, "z", 10)] }, 20);
    const ways = builder.finish(NOW_MS).registers.map(({ actor, way, stamp }) => [actor, way, stamp]);
    expect(ways).toEqual([
      ["b", undefined, 9],
      ["z", [7, 8], 11],
    ]);
  });

  test.each([
    ["few types", (i: number) => `${["article", "a-b", "page"][i % 3]}/${(i * 7919) % 10_007}`],
    ["what begins alike", (i: number) => `article/2026-11-${i % 30}/part-${(i * 31) % 997}`],
    ["the same one", () => "article/1"],
    ["no Latin", (i: number) => `статья/${["да", "нет", "😀", "å"][i % 4]}${"ж".repeat(i % 5)}${(i * 13) % 101}`],
    ["one the beginning of another", (i: number) => "x".repeat(1 + (i % 128))],
  ])("is sorted by subject, with %s", (_, subjectOf) => {
    const subjects = Array.from({ length: 5_000 }, (_, i) => subjectOf(i));
    const records = subjects.map((subject, i): LogRecord => ({ ...view(i + 1, 1), subject }));
    const likes = subjects.map((actor, i): LogRecord => like(5_001 + i, actor, i + 1));
    const builder = new BatchBuilder(fresh);
    builder.add({ source: "a", records: [...records, ...likes] }, 10);
    const { tallies, registers } = builder.finish(NOW_MS);
    const latest = new Map(subjects.map((subject, i) => [subject, i + 1]));
    const sorted = [...latest.keys()].sort();
    // Texts that are not Latin stand in any order, but each of them once.
    const isLatin = sorted.every((text) => /^[\0-\xff]*$/.test(text));
    const order = (texts: string[]) => (isLatin ? texts : texts.sort());
    expect(order(tallies.map(({ subject }) => subject))).toEqual(sorted);
    expect(order(registers.map(({ actor }) => actor))).toEqual(sorted);
    expect(new Map(registers.map(({ actor, stamp }) => [actor, stamp]))).toEqual(latest);
  });

  test("adds amounts by minute", () => {
    const builder = new BatchBuilder(fresh);
    builder.add({ source: "a", records: [view(1, 2), view(2, 3), view(3, 4, NOW_MS + 1000)] }, 10);
    const minute = Math.floor(NOW_MS / 60_000) * 60;
    expect(builder.finish(NOW_MS).tallies[0]).toMatchObject({
      added: 9,
      sets: null,
      steps: [
        [minute, 5],
        [minute + 60, 4],
      ],
    });
  });

  test("skips what is decided, within itself too, and records a gap", () => {
    const builder = new BatchBuilder({ last: () => 4 });
    builder.add({ source: "a", records: [view(4, 100), view(5, 1), view(5, 100), view(8, 2)] }, 10);
    const batch = builder.finish(NOW_MS);
    expect(batch.tallies[0]?.added).toBe(3);
    expect(batch.losses).toEqual([{ source: "a", shard: 3, from: 6, to: 7 }]);
    expect(batch.records).toBe(4);
  });

  test("of nothing new still moves the position", () => {
    const builder = new BatchBuilder({ last: () => 4 });
    builder.add({ source: "a", records: [view(4, 100)] }, 10);
    expect(builder.finish(NOW_MS)).toMatchObject({ position: 10, tallies: [], sources: [], shards: [], losses: [] });
  });
});

/** A log of one-record frames at positions 1, 2, 3 …, and a ledger that only notes what it was given. */
function world(records: LogRecord[]) {
  const writer = new FrameWriter();
  const frames = records.map((record) => {
    writer.begin("a");
    writer.add(record);
    return Buffer.from(writer.finish());
  });
  const log: LogReader = {
    read: (from) => frames.slice(from, from + 4).map((bytes, i): LoggedFrame => ({ bytes, next: from + i + 1 })),
    start: () => 0,
    close() {},
  };
  const last = new Map<number, number>();
  const state = { position: 0, failures: 0, batches: [] as Batch[], synced: [] as number[] };
  const ledger: SyncLedgerWriter = {
    position: () => state.position,
    last: (_source, shard) => last.get(shard) ?? 0,
    apply(batch): Applied {
      if (state.failures-- > 0) throw new LedgerUnavailable("disk full");
      state.batches.push(batch);
      state.position = batch.position;
      for (const it of batch.sources) last.set(it.shard, it.last);
      return { registers: batch.registers.length, counts: batch.tallies.length };
    },
    makeDurable() {
      state.synced.push(state.position);
      return state.position;
    },
    tidy: () => false,
    close() {},
  };
  const told: string[] = [];
  const events: ProjectorEvents = {
    applied: () => told.push("applied"),
    idle: () => 0,
    lost: ({ from, to }) => told.push(`lost ${from}-${to}`),
    failing: (error) => told.push(error.message),
    recovered: () => told.push("recovered"),
    hurry: (is) => told.push(is ? "hurry" : "calm"),
  };
  const head = new SharedArrayBuffer(8);
  new BigInt64Array(head)[0] = BigInt(frames.length);
  const control = new ProjectorControl(ProjectorControl.allocate(head));
  return { log, ledger, state, told, control, head, start: () => new Projector({ log, ledger, control }, events) };
}

describe("the projector", () => {
  test("applies what is in the log, tells how far it is, and stops where it was told to", () => {
    const { start, state, control, told } = world([view(1, 1), view(2, 2), view(3, 3), view(4, 4), view(5, 5)]);
    control.stop(5);
    start().run();
    expect([state.position, control.applied, control.durable]).toEqual([5, 5, 5]);
    expect(state.batches.flatMap((batch) => batch.tallies.map((it) => it.added))).toEqual([15]);
    expect(told).toEqual(["applied"]);
  });

  test("tries again, from the same place, as long as the ledger cannot be written", () => {
    const { start, state, control, told } = world([view(1, 1), view(2, 2)]);
    state.failures = 2;
    control.stop(2);
    const projector = start();
    expect(control.applied).toBe(0);
    projector.run();
    expect(told).toEqual(["disk full", "disk full", "applied", "recovered"]);
    expect([control.applied, control.failing]).toEqual([2, false]);
    expect(state.batches[0]?.tallies[0]?.added).toBe(3);
  });

  test("goes on behind a gap, and says so", () => {
    const { start, control, told } = world([view(1, 1), view(4, 2)]);
    control.stop(2);
    start().run();
    expect(told).toEqual(["lost 2-3", "applied"]);
    expect(control.losses).toBe(1);
  });

  test("stops loudly at a frame it cannot read", () => {
    const { start, control, log } = world([view(1, 1)]);
    log.read = () => [{ bytes: Buffer.from([99, 1, 2]), next: 1 }];
    control.stop(1);
    expect(() => start().run()).toThrow("version 99");
    expect(control.applied).toBe(0);
  });

  test("does not begin where the log ends before the ledger", () => {
    const { start, state } = world([view(1, 1)]);
    state.position = 2;
    expect(start).toThrow("do not belong together");
  });

  test("wakes those who wait for a position", async () => {
    const { start, control } = world([view(1, 1), view(2, 1)]);
    expect(await control.untilApplied(2, 1)).toBe(false);
    const waiting = control.untilApplied(2, 10_000);
    control.stop(2);
    start().run();
    expect(await waiting).toBe(true);
  });
});

test("the lag is the age of the oldest that waits", () => {
  const lag = new Lag();
  lag.saw(1000, 50);
  expect(lag.at(1000, 50)).toBe(0);
  lag.saw(2000, 80);
  lag.saw(2050, 85);
  lag.saw(2100, 90);
  expect(lag.at(2500, 50)).toBe(500);
  expect(lag.at(2600, 80)).toBe(500);
  expect(lag.at(2700, 90)).toBe(0);
});
