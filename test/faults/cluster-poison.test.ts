import { expect, test } from "bun:test";
import { Kafka, logLevel } from "kafkajs";
import mysql from "mysql2/promise";
import { FrameWriter } from "../../src/records.ts";
import { ClusterWorld, metricsOf } from "../support/cluster-world.ts";
import { eventually } from "../support/eventually.ts";

const SEED = Number(process.env.SEED ?? Date.now() % 100_000);
const ROUNDS = 3;
const PAUSE_MS = 1_000;
/** Each is found by storing one message after the other, under load. */
const FOUND_MS_MAX = 60_000;
/** Long enough to look for one to blame. */
const REFUSED_S = 3;

/** The note of a source that nobody is, whose subject no table has room for. */
function tooLong(partition: number, round: number): Buffer {
  const frame = new FrameWriter();
  // Of the same source the next would wait behind the gap that the first one leaves.
  frame.begin(`odd${partition}${round}`);
  const rest = { metric: 1, amount: 1, atMs: Date.now(), slot: 0, notedAfter: 0, once: undefined };
  frame.add({ kind: "tally", shard: partition, n: 1, subject: `article/${"x".repeat(200)}`, ...rest });
  return Buffer.from(frame.finish());
}

test(`messages that can never be stored are set aside under load, and those beside them count (SEED=${SEED})`, async () => {
  await using world = await ClusterWorld.start({ seed: SEED, nodes: 1 });
  const kafka = new Kafka({ brokers: [world.stores.kafka.brokers], logLevel: logLevel.NOTHING });
  const admin = kafka.admin();
  await admin.connect();
  const partitions = (await admin.fetchTopicOffsets("tally.log")).map(({ partition }) => partition);
  await admin.disconnect();
  const producer = kafka.producer({ allowAutoTopicCreation: false });
  await producer.connect();
  await world.startLoad();
  for (let round = 1; round <= ROUNDS; round++) {
    for (const partition of partitions) {
      const messages = [Buffer.from("no frame at all"), tooLong(partition, round)].map((value) => ({
        partition,
        value,
      }));
      await producer.send({ topic: "tally.log", messages });
    }
    await Bun.sleep(PAUSE_MS);
  }
  await producer.disconnect();
  await eventually(async () => {
    const letters = (await metricsOf(world.node(0))).get("tally_dead_letters_total");
    expect(letters).toBe(2 * ROUNDS * partitions.length);
  }, FOUND_MS_MAX);
  await world.stopLoad();
  expect(await world.verify()).toEqual([]);
}, 180_000);

test(`a ledger that takes nothing, whatever it says, has no message set aside (SEED=${SEED})`, async () => {
  await using world = await ClusterWorld.start({ seed: SEED, nodes: 1 });
  world.allowed.stale = true;
  await world.startLoad();
  const connection = await mysql.createConnection({ uri: world.stores.mysql.url });
  // An answer that nobody has foreseen.
  await connection.query("CREATE TRIGGER refusal BEFORE UPDATE ON shards FOR EACH ROW SIGNAL SQLSTATE '45000'");
  await eventually(async () => {
    expect((await metricsOf(world.node(0))).get("tally_projector_lag_seconds")).toBeGreaterThan(REFUSED_S);
  }, FOUND_MS_MAX);
  await connection.query("DROP TRIGGER refusal");
  connection.destroy();
  await world.stopLoad();
  expect(await world.verify()).toEqual([]);
  expect((await metricsOf(world.node(0))).get("tally_dead_letters_total")).toBe(0);
}, 180_000);
