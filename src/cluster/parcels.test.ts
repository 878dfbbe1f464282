import { expect, test } from "bun:test";
import type { LoggedFrame, Position } from "../ports/log.ts";
import { FrameWriter, type LogRecord, readFrame } from "../records.ts";
import { JOBS } from "./job-log.ts";
import { KafkaAway } from "./kafka/client.ts";
import type { KafkaProducer } from "./kafka/producer.ts";
import { Lane } from "./lane.ts";
import { parcelsOf } from "./parcels.ts";

const PARTITIONS = 4;
const erase = (shard: number): LogRecord => {
  const once = shard === 0 ? { key: "ab".repeat(16), body: "cd".repeat(8), atMs: 5 } : undefined;
  return { kind: "erase", shard, n: 1, metric: 0, subject: "", actor: "é %2F", stamp: 2, once };
};
const view = (shard: number): LogRecord => {
  const head = { shard, n: 1, metric: 1, subject: "article/1", once: undefined };
  return { kind: "tally", ...head, amount: 3, atMs: 7, slot: 1, notedAfter: 3 };
};

function frameOf(source: string, records: readonly LogRecord[]): Buffer {
  const writer = new FrameWriter();
  writer.begin(source);
  for (const record of records) writer.add(record);
  return Buffer.from(writer.finish());
}

const ERASURE = frameOf(
  `run${JOBS}`,
  Array.from({ length: 256 }, (_, shard) => erase(shard)),
);

test("a frame of one partition is a message as it stands", () => {
  for (const source of ["run", `run${JOBS}`]) {
    const frame = frameOf(source, [view(6), view(2)]);
    expect(parcelsOf(frame, 99, PARTITIONS)).toEqual([{ partition: 2, bytes: frame, end: 99 }]);
  }
});

test("an erasure of all shards is a message for each partition, the same ones every time", () => {
  const parcels = parcelsOf(ERASURE, 99, PARTITIONS);
  expect(parcels.map(({ partition, end }) => [partition, end])).toEqual([0, 1, 2, 3].map((each) => [each, 99]));
  for (const { partition, bytes } of parcels) {
    const { source, records } = readFrame(bytes);
    expect(source).toBe(`run${JOBS}`);
    expect(records.every(({ shard }) => shard % PARTITIONS === partition)).toBe(true);
  }
  const records = parcels.flatMap(({ bytes }) => readFrame(bytes).records).sort((a, b) => a.shard - b.shard);
  expect(records).toEqual(readFrame(ERASURE).records);
  expect(parcelsOf(ERASURE, 99, PARTITIONS)).toEqual(parcels);
});

test("what an earlier run wrote for another number of partitions is divided anew, what this one writes goes as it stands", async () => {
  const frames = [frameOf("before", [view(1), view(3), view(5)]), frameOf("now", [view(3), view(7)])];
  const log = frames.map((bytes, i): LoggedFrame => ({ bytes, next: i + 1 }));
  const sent: [number, string, number[]][] = [];
  const producer = {
    isUp: true,
    async send(messages: { partition: number; value: Buffer }[]) {
      for (const { partition, value } of messages) {
        const { source, records } = readFrame(value);
        sent.push([partition, source, records.map(({ shard }) => shard)]);
        for (const record of records) expect(record).toEqual(view(record.shard));
      }
    },
    close() {},
  } as unknown as KafkaProducer;
  const reader = { start: () => 0, read: (from: Position) => log.filter(({ next }) => next > from), close() {} };
  const lane = new Lane({
    producer,
    reader,
    head: () => 2,
    isMine: () => true,
    partitions: PARTITIONS,
    applied: () => 0,
    from: 0,
    ownFrom: 1,
  });
  while (!lane.isEmpty) await Bun.sleep(1);
  expect(sent).toEqual([
    [1, "before", [1, 5]],
    [3, "before", [3]],
    [3, "now", [3, 7]],
  ]);
  lane.close();
});

test("of an erasure that Kafka took in part all parts go again", async () => {
  const log: LoggedFrame[] = [];
  const sent: number[] = [];
  let failures = 1;
  const producer = {
    isUp: true,
    async send(messages: { partition: number }[]) {
      for (const { partition } of messages) {
        sent.push(partition);
        if (partition === 1 && failures-- > 0) throw new KafkaAway("gone");
      }
    },
    close() {},
  } as unknown as KafkaProducer;
  const lane = new Lane({
    producer,
    reader: { start: () => 0, read: (from: Position) => log.filter(({ next }) => next > from), close() {} },
    head: () => log.at(-1)?.next ?? 0,
    isMine: () => true,
    partitions: PARTITIONS,
    applied: () => 0,
    from: 0,
    ownFrom: 0,
  });
  log.push({ bytes: ERASURE, next: ERASURE.length });
  expect(await lane.ship(parcelsOf(ERASURE, ERASURE.length, PARTITIONS))).toBe(false);
  while (!lane.isEmpty) await Bun.sleep(1);
  expect(sent).toEqual([0, 1, 0, 1, 2, 3]);
  lane.close();
});
