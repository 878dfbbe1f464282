import { expect, test } from "bun:test";
import { Kafka, logLevel } from "kafkajs";
import { ClusterWorld } from "../support/cluster-world.ts";
import { eventually } from "../support/eventually.ts";
import { random } from "../support/random.ts";
import type { KafkaServer } from "../support/services.ts";

const SEED = Number(process.env.SEED ?? Date.now() % 100_000);
/** A broker that is lost is found out by the others, and one by one its partitions get other leaders. */
const READY_MS_MAX = 30_000;

async function replicasOf(broker: KafkaServer, topic: string): Promise<{ replicas: number; inSyncMin: string }> {
  const admin = new Kafka({ brokers: [broker.brokers], logLevel: logLevel.NOTHING }).admin();
  await admin.connect();
  const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
  const { resources } = await admin.describeConfigs({
    includeSynonyms: false,
    resources: [{ type: 2, name: topic, configNames: ["min.insync.replicas"] }],
  });
  await admin.disconnect();
  const replicas = Math.min(...(topics[0]?.partitions ?? []).map((partition) => partition.replicas.length));
  return { replicas, inSyncMin: resources[0]?.configEntries[0]?.configValue ?? "" };
}

test(`three brokers: any one may be lost, two are an outage, and every count is right (SEED=${SEED})`, async () => {
  const dice = random(SEED);
  await using world = await ClusterWorld.start({ seed: SEED, brokers: 3 });
  const { book, stores } = world;
  const { brokers } = stores;
  const readiness = () => Promise.all(world.servers.map((server) => server.json<{ status: string }>("/readyz")));
  const untilAll = (status: string) =>
    eventually(async () => {
      for (const each of await readiness()) expect(each).toMatchObject({ status });
    }, READY_MS_MAX);
  for (const topic of ["tally.log", "tally.log.dead"]) {
    expect(await replicasOf(brokers[0] as KafkaServer, topic)).toEqual({ replicas: 3, inSyncMin: "2" });
  }
  await world.startLoad();
  const first = dice.below(3);
  for (let turn = 0; turn < 3; turn++) {
    const broker = brokers[(first + turn) % 3] as KafkaServer;
    const how = turn % 2 === 0 ? "kill" : "pause";
    await broker[how]();
    await Bun.sleep(500);
    await untilAll("ready");
    await Bun.sleep(1_000);
    if (how === "kill") await broker.start();
    else await broker.resume();
    await untilAll("ready");
    expect(book.wrong).toEqual([]);
  }
  const lost = [brokers[first], brokers[(first + 1) % 3]] as KafkaServer[];
  await Promise.all(lost.map((broker) => broker.kill()));
  await untilAll("degraded");
  await Bun.sleep(2_000);
  await Promise.all(lost.map((broker) => broker.start()));
  await untilAll("ready");
  await world.stopLoad();
  expect(await world.verify()).toEqual([]);
  console.log(`${book.answers} answers, ${book.lost} lost, ${book.refused} refused`);
}, 240_000);
