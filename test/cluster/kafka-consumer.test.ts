import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { type Admin, Kafka, logLevel } from "kafkajs";
import { Poison } from "../../src/cluster/kafka/applier.ts";
import type { KafkaSettings } from "../../src/cluster/kafka/client.ts";
import type { LogMessage } from "../../src/cluster/kafka/gather.ts";
import type { KafkaProducer } from "../../src/cluster/kafka/producer.ts";
import type { LogAlert } from "../../src/cluster/kafka/session.ts";
import { ensureTopics } from "../../src/cluster/kafka/topics.ts";
import { KafkaServer } from "../support/services.ts";
import {
  FAST,
  longMessage,
  MemoryLedger,
  message,
  numberOf,
  PARTITIONS,
  row,
  settingsFor,
  startConsumer,
  startProducer,
  until,
} from "./kafka-support.ts";

let kafka: KafkaServer;
let client: Kafka;
let admin: Admin;
let settings: KafkaSettings;
let producer: KafkaProducer;

beforeAll(async () => {
  kafka = await KafkaServer.start();
  client = new Kafka({ brokers: [kafka.brokers], logLevel: logLevel.NOTHING });
  admin = client.admin();
  await admin.connect();
}, 60_000);

afterAll(async () => {
  await admin.disconnect();
  await kafka.close();
});

/** Each test has a log of its own. */
async function newLog(): Promise<void> {
  settings = settingsFor(kafka.brokers);
  producer = await startProducer(settings);
}

/** As retention does. */
async function expire(partition: number, before: number): Promise<void> {
  const fresh = client.admin();
  await fresh.connect();
  const topic = `${settings.prefix}.log`;
  await fresh.fetchTopicOffsets(topic); // or it would not know who leads the partition
  await fresh.deleteTopicRecords({ topic, partitions: [{ partition, offset: String(before) }] });
  await fresh.disconnect();
}

const numbers = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

/** What is in the dead-letter topic, once it is `count`. */
async function deadLetters(count: number): Promise<{ value: string; reason: string; from: string }[]> {
  const letters: { value: string; reason: string; from: string }[] = [];
  const reader = client.consumer({ groupId: `${settings.prefix}.dead`, sessionTimeout: 2_000, heartbeatInterval: 500 });
  await reader.connect();
  await reader.subscribe({ topics: [`${settings.prefix}.log.dead`], fromBeginning: true });
  await reader.run({
    eachMessage: async ({ message: { value, headers } }) => {
      const { reason, partition, offset } = headers ?? {};
      letters.push({ value: String(value), reason: String(reason), from: `${partition}/${offset}` });
    },
  });
  await until(() => letters.length >= count, "dead letters");
  await reader.disconnect();
  return letters;
}

describe("reading", () => {
  test("everything in order, several partitions in one call, and from the ledger's position on", async () => {
    await newLog();
    for (let n = 1; n <= 20; n++) await producer.send(row(n));
    const ledger = new MemoryLedger();
    let calls = 0;
    let under = 0;
    const consumer = startConsumer(
      settings,
      ledger.handlers({
        apply: async (messages, positions) => {
          calls++;
          expect(++under).toBe(1);
          await Bun.sleep(1);
          ledger.apply(messages, positions);
          under--;
        },
      }),
      { ...FAST, gatherMs: 200 },
    );
    await until(() => ledger.count === 320, "all read");
    // A call for each partition would be sixteen.
    expect(calls).toBeLessThan(16);
    await until(() => consumer.lag === 0, "read to the end");
    for (let n = 21; n <= 40; n++) await producer.send(row(n));
    await until(() => ledger.count === 640, "the rest read");
    await consumer.stop();
    for (const partition of PARTITIONS) expect(ledger.numbers.get(partition)).toEqual(numbers(1, 40));
    expect(ledger.positions).toEqual(await producer.ends(PARTITIONS));

    for (const partition of PARTITIONS) ledger.positions.set(partition, 30);
    ledger.numbers.clear();
    const again = startConsumer(settings, ledger.handlers());
    await until(() => ledger.count === 160, "read from the position");
    await again.stop();
    for (const partition of PARTITIONS) expect(ledger.numbers.get(partition)).toEqual(numbers(31, 40));
    producer.close();
  }, 30_000);

  test("what is rejected comes again, the same, and the group outlives it", async () => {
    await newLog();
    const ledger = new MemoryLedger();
    const asked: number[] = [];
    const seen: string[] = [];
    let isAway = true;
    const consumer = startConsumer(
      settings,
      ledger.handlers({
        positions: async (partitions) => {
          asked.push(partitions.length);
          return new Map();
        },
        apply: async (messages, positions) => {
          if (isAway) {
            seen.push(messages.map((each) => `${each.partition}/${each.offset}`).join());
            throw new Error("the ledger is away");
          }
          ledger.apply(messages, positions);
        },
      }),
      FAST,
    );
    await producer.send(row(1));
    // 100 + 200 + 400 + 800 + 1,600 ms, where a session is 2 s: a shorter one ends where a busy machine stands still.
    await until(() => seen.length >= 6, "tries over more than a session");
    for (let n = 2; n <= 20; n++) await producer.send(row(n));
    isAway = false;
    await until(() => ledger.count === 320, "all applied");
    await consumer.stop();
    expect(new Set(seen).size).toBe(1);
    expect(asked).toEqual([16]);
    for (const partition of PARTITIONS) expect(ledger.numbers.get(partition)).toEqual(numbers(1, 20));
    producer.close();
  }, 30_000);

  test("bounded: reading waits for a slow ledger, and pauses without leaving the group", async () => {
    await newLog();
    for (let i = 0; i < 20; i++)
      await producer.send(numbers(i * 100 + 1, i * 100 + 100).map((n) => message(n % 16, n)));
    const ledger = new MemoryLedger();
    let largest = 0;
    const consumer = startConsumer(
      settings,
      ledger.handlers({
        apply: async (messages, positions) => {
          largest = Math.max(largest, messages.length);
          ledger.apply(messages, positions);
        },
      }),
      { ...FAST, gatherRecords: 100 },
    );
    await until(() => ledger.count > 0, "begun");
    await consumer.pause();
    const paused = ledger.count;
    await Bun.sleep(200);
    expect(ledger.count).toBe(paused);
    consumer.resume();
    await until(() => ledger.count === 2_000, "all read");
    await consumer.stop();
    // 99 and one batch of a partition, which has 125 messages.
    expect(largest).toBeLessThanOrEqual(99 + 125);
    producer.close();
  }, 30_000);

  test("a broker killed and one that stands still for longer than a session: goes on, nothing missing", async () => {
    await newLog();
    const ledger = new MemoryLedger();
    const states: boolean[] = [];
    const consumer = startConsumer(settings, ledger.handlers({ onState: (isUp) => states.push(isUp) }));
    await producer.send(row(1));
    await until(() => ledger.count === 16, "read");
    await kafka.kill();
    await kafka.start();
    await until(
      () =>
        producer.isUp &&
        producer.send(row(2)).then(
          () => true,
          () => false,
        ),
      "sent after the kill",
    );
    await until(() => ledger.firsts(5).length === 2, "read after the kill");
    await kafka.pause();
    await Bun.sleep(2_500);
    await kafka.resume();
    await until(
      () =>
        producer.isUp &&
        producer.send(row(3)).then(
          () => true,
          () => false,
        ),
      "sent after the stop",
    );
    await until(() => PARTITIONS.every((partition) => ledger.firsts(partition).length === 3), "read after the stop");
    await consumer.stop();
    for (const partition of PARTITIONS) expect(ledger.firsts(partition)).toEqual([1, 2, 3]);
    expect(states[0]).toBe(true);
    producer.close();
  }, 40_000);
});

describe("a log that is not what it was", () => {
  test("made again: the ledger's positions are ahead, and everything that is there is read", async () => {
    await newLog();
    for (let n = 1; n <= 30; n++) await producer.send(row(n));
    const topic = `${settings.prefix}.log`;
    await admin.deleteTopics({ topics: [topic] });
    await until(async () => !(await admin.listTopics()).includes(topic), "deleted");
    await ensureTopics(settings);
    await until(
      () =>
        producer.send(row(5)).then(
          () => true,
          () => false,
        ),
      "sent",
    );
    const alerts: LogAlert[] = [];
    const ledger = new MemoryLedger();
    for (const partition of PARTITIONS) ledger.positions.set(partition, 30);
    const consumer = startConsumer(settings, ledger.handlers({ alert: (alert) => alerts.push(alert) }));
    // Some of it may be there twice: a send that met a broker that was not ready was repeated.
    const isRead = () => PARTITIONS.every((partition) => ledger.firsts(partition).length === 1);
    await until(isRead, "read from the start");
    await until(() => consumer.lag === 0, "read to the end");
    await consumer.stop();
    expect(alerts).toHaveLength(16);
    expect(alerts[0]).toMatchObject({ kind: "ahead", position: 30, start: 0, from: 0 });
    expect(ledger.positions).toEqual(await producer.ends(PARTITIONS));
    producer.close();
  }, 30_000);

  test("made again while it is being read", async () => {
    await newLog();
    for (let n = 1; n <= 30; n++) await producer.send(row(n));
    const alerts: LogAlert[] = [];
    const ledger = new MemoryLedger();
    const consumer = startConsumer(settings, ledger.handlers({ alert: (alert) => alerts.push(alert) }));
    await until(() => ledger.count === 480, "read");
    const topic = `${settings.prefix}.log`;
    await admin.deleteTopics({ topics: [topic] });
    await until(async () => !(await admin.listTopics()).includes(topic), "deleted");
    await ensureTopics(settings);
    await until(
      () =>
        producer.send(row(31)).then(
          () => true,
          () => false,
        ),
      "sent",
    );
    await until(() => PARTITIONS.every((partition) => ledger.numbers.get(partition)?.at(-1) === 31), "read on");
    await until(() => consumer.lag === 0, "read to the end");
    await consumer.stop();
    expect(new Set(alerts.map(({ kind }) => kind))).toEqual(new Set(["ahead"]));
    expect(ledger.positions).toEqual(await producer.ends(PARTITIONS));
    producer.close();
  }, 30_000);

  test("expired before it was read: an alert, and what is left", async () => {
    await newLog();
    for (let n = 1; n <= 30; n++) await producer.send(row(n));
    await expire(3, 20);
    const alerts: LogAlert[] = [];
    const ledger = new MemoryLedger();
    for (const partition of PARTITIONS) ledger.positions.set(partition, 10);
    const consumer = startConsumer(settings, ledger.handlers({ alert: (alert) => alerts.push(alert) }));
    await until(() => ledger.count === 15 * 20 + 10, "the rest read");
    await consumer.stop();
    expect(alerts).toEqual([{ kind: "expired", partition: 3, position: 10, start: 20, end: 30, from: 20 }]);
    expect(ledger.numbers.get(3)).toEqual(numbers(21, 30));
    producer.close();
  }, 30_000);

  test("expired while the ledger was slow: an alert, and what is left", async () => {
    await newLog();
    for (let n = 1; n <= 6; n++) await producer.send([longMessage(3, n)]);
    const alerts: LogAlert[] = [];
    const ledger = new MemoryLedger();
    const gate = Promise.withResolvers<void>();
    const consumer = startConsumer(
      settings,
      ledger.handlers({
        alert: (alert) => alerts.push(alert),
        apply: async (messages, positions) => {
          await gate.promise;
          ledger.apply(messages, positions);
        },
      }),
      { ...FAST, gatherBytes: 1 },
    );
    await until(() => consumer.lag === 6, "begun");
    await expire(3, 5);
    gate.resolve();
    await until(() => ledger.positions.get(3) === 6, "read to the end");
    await consumer.stop();
    expect(alerts).toMatchObject([{ kind: "expired", partition: 3, start: 5, end: 6, from: 5 }]);
    const read = ledger.numbers.get(3) ?? [];
    expect(read.at(-1)).toBe(6);
    expect(read).toEqual([...numbers(1, read.length - 1), 6]);
    expect(read.length).toBeLessThan(6);
    producer.close();
  }, 30_000);

  test("offsets that are left out, as by a transaction: reading goes on behind them", async () => {
    await newLog();
    await producer.send([message(2, 1)]);
    const ledger = new MemoryLedger();
    const kinds: string[] = [];
    const consumer = startConsumer(settings, ledger.handlers({ alert: ({ kind }) => kinds.push(kind) }));
    await until(() => ledger.count === 1, "read");
    const other = client.producer({ transactionalId: settings.prefix, idempotent: true, maxInFlightRequests: 1 });
    await other.connect();
    for (let n = 2; n <= 3; n++) {
      const transaction = await other.transaction();
      const { partition, value } = message(2, n);
      await transaction.send({ topic: `${settings.prefix}.log`, messages: [{ partition, value }] });
      await (n === 2 ? transaction.abort() : transaction.commit());
    }
    await other.disconnect();
    await producer.send([message(2, 4)]);
    await until(() => ledger.numbers.get(2)?.at(-1) === 4, "read behind them");
    await consumer.stop();
    expect(ledger.numbers.get(2)).toEqual([1, 3, 4]);
    expect(kinds).toEqual([]);
    producer.close();
  }, 30_000);
});

describe("poison", () => {
  test("goes to the dead letters with its reason, and reading goes on", async () => {
    await newLog();
    await producer.send(row(1));
    await producer.send([{ partition: 4, key: "4", value: Buffer.from("no frame") }]);
    await producer.send([{ partition: 5, key: "5", value: null }]);
    await producer.send(row(2));
    await producer.send(row(3));
    const ledger = new MemoryLedger();
    const calls: LogMessage[][] = [];
    const consumer = startConsumer(
      settings,
      ledger.handlers({
        apply: async (messages, positions) => {
          calls.push(messages);
          const bad = messages.find((each) => each.partition === 7 && numberOf(each) === 2);
          if (bad) throw new Poison(bad, "a metric that never was");
          ledger.apply(messages, positions);
        },
      }),
    );
    await until(() => ledger.count === 47, "the rest applied");
    expect(consumer.deadLetters).toBe(3);
    await consumer.stop();
    for (const partition of PARTITIONS)
      expect(ledger.numbers.get(partition)).toEqual(partition === 7 ? [1, 3] : [1, 2, 3]);
    expect(ledger.positions).toEqual(await producer.ends(PARTITIONS));
    const letters = await deadLetters(3);
    expect(letters.map(({ from }) => from).sort()).toEqual(["4/1", "5/1", "7/1"]);
    const reasons = new Map(letters.map(({ from, reason }) => [from, reason]));
    expect(reasons.get("7/1")).toBe("a metric that never was");
    expect(reasons.get("4/1")).toContain("log frame of version");
    expect(letters.find(({ from }) => from === "4/1")?.value).toBe("no frame");
    producer.close();
  }, 30_000);
});
