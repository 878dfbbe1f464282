import { expect, test } from "bun:test";
import { Kafka, logLevel } from "kafkajs";
import mysql from "mysql2/promise";
import { ClusterWorld } from "../support/cluster-world.ts";
import { eventually } from "../support/eventually.ts";
import { random } from "../support/random.ts";

const SEED = Number(process.env.SEED ?? Date.now() % 100_000);
const TOPIC = "tally.log";
const CLOCK_APART_MS = 10_000;

/** Everything that counts, in the ledger. */
async function ledgerOf(url: string): Promise<Record<string, string[]>> {
  const connection = await mysql.createConnection({ uri: url });
  try {
    const rows = async (sql: string) =>
      ((await connection.query({ sql, rowsAsArray: true }))[0] as unknown[][]).map((row) => row.map(String).join(" "));
    return {
      counts: await rows("SELECT hex(subject), metric, count FROM counts ORDER BY 1, 2"),
      relations: await rows("SELECT hex(actor), hex(subject), metric, stamp FROM relations ORDER BY 1, 2, 3"),
      history: await rows("SELECT hex(subject), metric, at, amount FROM history ORDER BY 1, 2, 3"),
      keys: await rows("SELECT hex(`key`), hex(body), at_ms FROM `keys` ORDER BY 1"),
      sources: await rows("SELECT hex(source), shard, last FROM sources ORDER BY 1, 2"),
      losses: await rows("SELECT hex(source), shard, from_n, to_n FROM losses ORDER BY 1, 2, 3"),
    };
  } finally {
    connection.destroy();
  }
}

async function ask(url: string, sql: string): Promise<unknown[][]> {
  const connection = await mysql.createConnection({ uri: url });
  try {
    return (await connection.query({ sql, rowsAsArray: true }))[0] as unknown[][];
  } finally {
    connection.destroy();
  }
}

interface Sent {
  partition: number;
  value: Buffer;
}

/** All that the log holds. */
async function readLog(kafka: Kafka): Promise<Sent[]> {
  const admin = kafka.admin();
  await admin.connect();
  const ends = await admin.fetchTopicOffsets(TOPIC);
  await admin.disconnect();
  const expected = ends.reduce((sum, { high }) => sum + Number(high), 0);
  const consumer = kafka.consumer({ groupId: "test.reader" });
  await consumer.connect();
  await consumer.subscribe({ topics: [TOPIC], fromBeginning: true });
  const all: Sent[] = [];
  await consumer.run({
    eachMessage: async ({ partition, message: { value } }) => {
      if (value) all.push({ partition, value });
    },
  });
  // It joins a group before it reads.
  await eventually(async () => expect(all.length).toBeGreaterThanOrEqual(expected), 30_000);
  await consumer.disconnect();
  return all;
}

test(`the log is read again from its start, and comes again in another order (SEED=${SEED})`, async () => {
  await using world = await ClusterWorld.start({ seed: SEED, consumers: 1 });
  const { book, allowed } = world;
  const { mysql: server, kafka: broker } = world.stores;
  allowed.roaming = true;
  await world.startLoad();
  await Bun.sleep(3_000);
  await world.stopLoad();
  await world.settle();
  const before = await ledgerOf(server.url);

  // From the start again.
  await world.stopConsumer(0);
  const ends = await ask(server.url, "SELECT number, position FROM partitions ORDER BY number");
  await ask(server.url, "UPDATE partitions SET position = 0");
  await world.startConsumer(0);
  await eventually(async () => {
    expect(await ask(server.url, "SELECT number, position FROM partitions ORDER BY number")).toEqual(ends);
  }, 30_000);
  expect(await ledgerOf(server.url)).toEqual(before);

  // The same once more behind itself, mixed up and twice, while more comes.
  const kafka = new Kafka({ brokers: [broker.brokers], logLevel: logLevel.NOTHING });
  const sent = await readLog(kafka);
  expect(sent.length).toBeGreaterThan(50);
  const dice = random(SEED);
  const mixed = [...sent, ...sent].sort(() => dice.next() - 0.5);
  await world.startLoad();
  const producer = kafka.producer({ allowAutoTopicCreation: false });
  await producer.connect();
  for (const { partition, value } of mixed) await producer.send({ topic: TOPIC, messages: [{ partition, value }] });
  await producer.disconnect();
  await world.stopLoad();

  // And once more from the start, with all of that in it, under load.
  await world.stopConsumer(0);
  await ask(server.url, "UPDATE partitions SET position = 0");
  await world.startLoad();
  await world.startConsumer(0);
  await Bun.sleep(1_500);
  await world.stopLoad();
  expect(await world.verify()).toEqual([]);
  console.log(`${book.answers} answers, ${sent.length} messages of the log came again`);
}, 120_000);

test(`two nodes whose clocks are ${CLOCK_APART_MS} ms apart: the last act stays (SEED=${SEED})`, async () => {
  const env = (node: number) => ({ FAULT_POINT: `clock:${node === 0 ? CLOCK_APART_MS : 0}` });
  await using world = await ClusterWorld.start({ seed: SEED, isFaulty: true, env });
  world.allowed.roaming = true;
  const like = (node: number, method: string) =>
    fetch(new URL("/v1/subjects/article/clocks/likes/7", world.node(node).url), { method }).then((it) => it.json());
  const beganMs = Date.now();
  // Acts wait for the projectors' first reading: on a slow machine for longer than they may, and then it is a 202.
  const ahead = await eventually(async () => {
    const told = (await like(0, "PUT")) as { at: string };
    expect(told).toMatchObject({ active: true, count: 1 });
    return told;
  }, 30_000);
  expect(Date.parse(ahead.at)).toBeGreaterThanOrEqual(beganMs + CLOCK_APART_MS);
  expect(await like(1, "DELETE")).toMatchObject({ active: false, changed: true, count: 0 });
  expect(await like(0, "PUT")).toMatchObject({ active: true, changed: true, count: 1 });
  expect(await like(1, "PUT")).toMatchObject({ active: true, changed: false, count: 1 });
  world.book.register("likes", "article/clocks", "7").active = true;
  await world.startLoad();
  await Bun.sleep(4_000);
  await world.stopLoad();
  expect(await world.verify()).toEqual([]);
}, 120_000);
