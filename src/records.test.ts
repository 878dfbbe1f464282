import { expect, test } from "bun:test";
import { FrameWriter, frameSource, type LogRecord, NO_SLOT, readFrame } from "./records.ts";

const once = { key: "00112233445566778899aabbccddeeff", body: "0123456789abcdef", atMs: 1_795_000_000_123 };
const records: LogRecord[] = [
  {
    kind: "relation",
    shard: 0,
    n: 1,
    metric: 3,
    subject: "article/42",
    actor: "7",
    stamp: 2 ** 52 - 1,
    once: undefined,
  },
  {
    kind: "relation",
    shard: 255,
    n: 2 ** 48 - 1,
    metric: 255,
    subject: `a/${"é".repeat(64)}`,
    actor: "😀",
    stamp: 4,
    once,
  },
  { kind: "tally", shard: 7, n: 2, metric: 1, subject: "a/%", amount: 1, atMs: 5, slot: NO_SLOT, notedAfter: 0, once },
  {
    kind: "tally",
    shard: 7,
    n: 3,
    metric: 1,
    subject: "a/b",
    amount: 2 ** 53 - 1,
    atMs: 6,
    slot: 9,
    notedAfter: 2 ** 32 - 1,
    once: undefined,
  },
  { kind: "set", shard: 1, n: 1, metric: 2, subject: "a/c", count: 12, atMs: 7, once: undefined },
  { kind: "erase", shard: 2, n: 1, metric: 2, subject: "a/d", actor: "", stamp: 8, once: undefined },
  { kind: "merge", shard: 2, n: 2, metric: 0, subject: "a/d", to: `b/${"😀".repeat(32)}`, once },
  {
    kind: "visitor",
    shard: 2,
    n: 2,
    metric: 1,
    subject: "a/é",
    code: 2 ** 31 - 1,
    atMs: 1_795_000_000_123,
    once: undefined,
  },
];

test("a frame is read back as it was written, with every kind of record", () => {
  const writer = new FrameWriter();
  writer.begin("00ff00ff00ff00ffr");
  for (const record of records) writer.add(record);
  const bytes = Buffer.from(writer.finish());
  expect(frameSource(bytes)).toBe("00ff00ff00ff00ffr");
  expect(readFrame(bytes)).toEqual({ source: "00ff00ff00ff00ffr", records });
});

test("a relation from bytes is the one from strings", () => {
  const ids = Buffer.from("xx😀/1actor");
  const [a, b] = [new FrameWriter(), new FrameWriter()];
  for (const writer of [a, b]) writer.begin("s");
  a.relation({ shard: 1, n: 2, metric: 3, once }, 99, ids, 2, 6, 5);
  b.add({ kind: "relation", shard: 1, n: 2, metric: 3, once, subject: "😀/1", actor: "actor", stamp: 99 });
  expect(a.finish().equals(b.finish())).toBe(true);
});

test("a tally from bytes is the one from a string", () => {
  const values = { amount: 3, atMs: 4, slot: 5, notedAfter: 6 };
  const [a, b] = [new FrameWriter(), new FrameWriter()];
  for (const writer of [a, b]) writer.begin("s");
  a.tally({ shard: 1, n: 2, metric: 3 }, values, Buffer.from("a/é and more"), 4);
  b.add({ kind: "tally", shard: 1, n: 2, metric: 3, subject: "a/é", ...values });
  expect(a.finish().equals(b.finish())).toBe(true);
});

test("a frame grows beyond its first buffer, and the next begins empty", () => {
  const writer = new FrameWriter();
  writer.begin("s");
  for (let n = 1; n <= 5000; n++) writer.add({ ...(records[1] as LogRecord), n });
  expect(writer.read().records.map((record) => record.n)).toEqual(Array.from({ length: 5000 }, (_, i) => i + 1));
  writer.begin("t");
  expect(writer.read()).toEqual({ source: "t", records: [] });
});

test("what is no frame is refused, wherever it is damaged", () => {
  const writer = new FrameWriter();
  writer.begin("s");
  for (const record of records) writer.add(record);
  const bytes = Buffer.from(writer.finish());
  expect(() => readFrame(Buffer.from([9, ...bytes.subarray(1)]))).toThrow(/version 9/);
  expect(() => readFrame(Buffer.concat([bytes, Buffer.from([0])]))).toThrow(/damaged/);
  const unknown = Buffer.from(bytes);
  unknown[2 + 1 + 4] = 77;
  expect(() => readFrame(unknown)).toThrow(/kind 77|damaged/);
});
