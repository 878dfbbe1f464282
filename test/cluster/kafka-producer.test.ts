import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { ConfigResourceTypes, Kafka, logLevel } from "kafkajs";
import { withAdmin } from "../../src/cluster/kafka/admin.ts";
import { KafkaAway, type KafkaSettings } from "../../src/cluster/kafka/client.ts";
import { KafkaProducer } from "../../src/cluster/kafka/producer.ts";
import { MESSAGE_BYTES_MAX } from "../../src/cluster/kafka/rounds.ts";
import { ensureTopics, partitionsOf } from "../../src/cluster/kafka/topics.ts";
import { KafkaServer } from "../support/services.ts";
import {
  LOG_PARTITIONS,
  message,
  PARTITIONS,
  readAll,
  row,
  settingsFor,
  startProducer,
  until,
} from "./kafka-support.ts";

let kafka: KafkaServer;

beforeAll(async () => {
  kafka = await KafkaServer.start({ proxies: 1 });
}, 60_000);

afterAll(() => kafka.close());

/** What is known needs no deadline, of 1 s: half of one is for a machine that does much else. */
const AT_ONCE_MS_MAX = 500;
/** A deadline, and as long again for such a machine. */
const SEND_MS_MAX = 2_000;

/** Sends rows of numbers one after the other, the same again until it is acknowledged, as the outbox does. */
class Sender {
  readonly producer: KafkaProducer;
  acknowledged = 0;
  rejections = 0;
  slowestMs = 0;
  #isStopped = false;
  #running: Promise<void>;

  constructor(producer: KafkaProducer) {
    this.producer = producer;
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#isStopped) {
      const startedAt = performance.now();
      try {
        await this.producer.send(row(this.acknowledged + 1));
        this.acknowledged++;
      } catch (error) {
        if (!(error instanceof KafkaAway)) throw error;
        this.rejections++;
        await Bun.sleep(5);
      }
      this.slowestMs = Math.max(this.slowestMs, performance.now() - startedAt);
    }
  }
}

async function expectAllInOrder(sender: Sender, settings: ReturnType<typeof settingsFor>): Promise<void> {
  const ledger = await readAll(settings, sender.producer);
  for (const partition of PARTITIONS) {
    const firsts = ledger.firsts(partition);
    expect(firsts.length).toBeGreaterThanOrEqual(sender.acknowledged);
    expect(firsts).toEqual(firsts.map((_, i) => i + 1));
  }
}

const SAFE = [
  "cleanup.policy",
  "retention.ms",
  "min.insync.replicas",
  "unclean.leader.election.enable",
  "message.timestamp.type",
];

/** How many brokers have each record, and what keeps records from being lost. */
function topicOf(settings: KafkaSettings, name: string): Promise<Record<string, unknown>> {
  return withAdmin(settings, async (admin) => {
    const { topics } = await admin.fetchTopicMetadata({ topics: [name] });
    const { resources } = await admin.describeConfigs({
      includeSynonyms: false,
      resources: [{ type: ConfigResourceTypes.TOPIC, name, configNames: SAFE }],
    });
    const entries = (resources[0]?.configEntries ?? []).map(({ configName, configValue }) => [configName, configValue]);
    const replicas = Math.min(...(topics[0]?.partitions ?? []).map((partition) => partition.replicas.length));
    return { replicas, ...Object.fromEntries(entries) };
  });
}

describe("topics", () => {
  test("are created once by many at once, and keep their partitions", async () => {
    const settings = settingsFor(kafka.brokers);
    expect(await partitionsOf(settings, `${settings.prefix}.log`)).toBeNull();
    const all = await Promise.all([1, 2, 3, 4].map(() => ensureTopics(settings)));
    expect(all).toEqual([LOG_PARTITIONS, LOG_PARTITIONS, LOG_PARTITIONS, LOG_PARTITIONS]);
    expect(await ensureTopics({ ...settings, kafkaPartitions: 4 })).toBe(LOG_PARTITIONS);
    expect(await partitionsOf(settings, `${settings.prefix}.log.dead`)).toBe(1);
  });

  test("are made so that nothing acknowledged is lost, as far as there are brokers", async () => {
    const two = await KafkaServer.startMany(2);
    try {
      const alone = settingsFor(kafka.brokers);
      const pair = { ...alone, kafkaBrokers: two.map(({ brokers }) => brokers) };
      for (const [settings, replicas] of [
        [alone, 1],
        [pair, 2],
      ] as const) {
        await ensureTopics({ ...settings, logRetention: 3 * 86_400_000 });
        for (const name of [`${settings.prefix}.log`, `${settings.prefix}.log.dead`])
          expect(await topicOf(settings, name)).toEqual({
            replicas,
            "cleanup.policy": "delete",
            "retention.ms": String(3 * 86_400_000),
            "min.insync.replicas": "1",
            "unclean.leader.election.enable": "false",
            "message.timestamp.type": "LogAppendTime",
          });
      }
    } finally {
      await Promise.all(two.map((broker) => broker.close()));
    }
  }, 60_000);

  test("two addresses of one broker are one broker", async () => {
    const settings = settingsFor(kafka.brokers);
    const kafkaBrokers = [kafka.brokers, kafka.brokers.replace("127.0.0.1", "localhost")];
    await ensureTopics({ ...settings, kafkaBrokers });
    expect(await topicOf(settings, `${settings.prefix}.log`)).toMatchObject({ replicas: 1 });
  }, 60_000);

  test("nobody there: KafkaAway", async () => {
    await expect(ensureTopics(settingsFor("127.0.0.1:1"))).rejects.toThrow(KafkaAway);
  });
});

describe("producer", () => {
  test("sends in order and says where the log ends", async () => {
    const settings = settingsFor(kafka.brokers);
    const producer = await startProducer(settings);
    for (let n = 1; n <= 50; n++) {
      const last = await producer.send(row(n));
      expect([...last.values()]).toEqual(PARTITIONS.map(() => n - 1));
    }
    const more = Array.from({ length: 2_000 }, (_, i) => message(3, 51 + i));
    expect(await producer.send(more)).toEqual(new Map([[3, 2_049]]));
    expect(await producer.ends([0, 3])).toEqual(
      new Map([
        [0, 50],
        [3, 2_050],
      ]),
    );
    const ledger = await readAll(settings, producer);
    expect(ledger.numbers.get(3)).toEqual(Array.from({ length: 2_050 }, (_, i) => i + 1));
    expect(ledger.count).toBe(16 * 50 + 2_000);
    producer.close();
  }, 30_000);

  test("takes the longest messages for one partition, and no longer ones", async () => {
    const producer = await startProducer(settingsFor(kafka.brokers));
    const long = { partition: 1, key: "1", value: Buffer.alloc(MESSAGE_BYTES_MAX, 1) };
    expect(await producer.send([long, long, long])).toEqual(new Map([[1, 2]]));
    await expect(producer.send([{ ...long, value: Buffer.alloc(1_100_000) }])).rejects.toThrow(RangeError);
    expect(producer.isUp).toBe(true);
    producer.close();
  }, 30_000);

  test("to a topic of another number of partitions nothing is sent, and its number is told", async () => {
    const settings = settingsFor(kafka.brokers);
    await ensureTopics(settings);
    const told = new Set<number>();
    const topic = `${settings.prefix}.log`;
    for (const expected of [LOG_PARTITIONS - 1, LOG_PARTITIONS]) {
      const producer = new KafkaProducer(settings, {
        topic,
        partitions: { expected, other: (found) => told.add(found) },
      });
      await producer.start();
      expect(producer.isUp).toBe(expected === LOG_PARTITIONS);
      if (!producer.isUp) await expect(producer.send(row(1))).rejects.toThrow("instead of 15");
      producer.close();
    }
    expect([...told]).toEqual([LOG_PARTITIONS]);
  }, 30_000);

  test("a second send at the same time is refused", async () => {
    const producer = await startProducer(settingsFor(kafka.brokers));
    const first = producer.send(row(1));
    await expect(producer.send(row(2))).rejects.toThrow("under way");
    await first;
    producer.close();
  });

  test("a broker killed in mid-send: what was acknowledged is there, first occurrences in order", async () => {
    const settings = settingsFor(kafka.brokers);
    const sender = new Sender(await startProducer(settings));
    await until(() => sender.acknowledged > 200, "200 sends");
    await kafka.kill();
    await until(() => !sender.producer.isUp, "away");
    await kafka.start();
    await until(() => sender.producer.isUp, "back");
    const before = sender.acknowledged;
    await until(() => sender.acknowledged > before + 50, "sends after it");
    await sender.stop();
    expect(sender.rejections).toBeGreaterThan(0);
    expect(sender.slowestMs).toBeLessThan(SEND_MS_MAX);
    await expectAllInOrder(sender, settings);
    sender.producer.close();
  }, 60_000);

  test("a broker stopped: rejects after the deadline, at once while it is away, and is back by itself", async () => {
    const settings = settingsFor(kafka.brokers);
    const states: boolean[] = [];
    await ensureTopics(settings);
    const producer = new KafkaProducer(settings, {
      topic: `${settings.prefix}.log`,
      onState: (isUp) => states.push(isUp),
    });
    await producer.start();
    const sender = new Sender(producer);
    await until(() => sender.acknowledged > 50, "sends");
    await kafka.pause();
    await until(() => !producer.isUp, "away", 5_000);
    expect(sender.slowestMs).toBeLessThan(SEND_MS_MAX);
    const startedAt = performance.now();
    await expect(producer.ends([0])).rejects.toThrow(KafkaAway);
    expect(performance.now() - startedAt).toBeLessThan(AT_ONCE_MS_MAX);
    await Bun.sleep(1_500); // probes meanwhile; their connections are taken by the system and never answered
    expect(producer.isUp).toBe(false);
    await kafka.resume();
    await until(() => producer.isUp, "back");
    const before = sender.acknowledged;
    await until(() => sender.acknowledged > before + 50, "sends after it");
    await sender.stop();
    // It may go once more: a broker that stood still for longer than its own session leads nothing for a moment.
    expect(states).toEqual(states.map((_, i) => i % 2 === 1));
    expect(states.at(-1)).toBe(true);
    await expectAllInOrder(sender, settings);
    producer.close();
  }, 30_000);

  test("acknowledgements lost on the way: sent again, nothing missing, nothing out of order", async () => {
    const settings = settingsFor(kafka.proxies[0]?.address as string);
    const sender = new Sender(await startProducer(settings));
    await until(() => sender.acknowledged > 50, "sends");
    await kafka.proxies[0]?.mute();
    await until(() => !sender.producer.isUp, "away");
    await kafka.proxies[0]?.heal();
    await until(() => sender.producer.isUp, "back");
    const before = sender.acknowledged;
    await until(() => sender.acknowledged > before + 50, "sends after it");
    await kafka.proxies[0]?.reset();
    const then = sender.acknowledged;
    await until(() => sender.acknowledged > then + 50, "sends after a reset");
    await sender.stop();
    const direct = { ...settings, kafkaBrokers: [kafka.brokers] };
    await expectAllInOrder(sender, direct);
    const ledger = await readAll(direct, sender.producer);
    expect(ledger.count).toBeGreaterThan(16 * sender.acknowledged);
    sender.producer.close();
  }, 30_000);

  test("a broker that went while nothing was sent is noticed", async () => {
    const producer = await startProducer(settingsFor(kafka.brokers));
    await producer.send(row(1));
    await kafka.kill();
    await until(() => !producer.isUp, "away", 5_000);
    await expect(producer.send(row(2))).rejects.toThrow(KafkaAway);
    await kafka.start();
    await until(() => producer.isUp, "back");
    await producer.send(row(2));
    producer.close();
  }, 30_000);

  test("a broker that hangs while nothing is sent is noticed by who looks", async () => {
    const producer = await startProducer(settingsFor(kafka.brokers));
    const looks = setInterval(() => void producer.look(), 100);
    await kafka.pause();
    await until(() => !producer.isUp, "away", 15_000);
    await kafka.resume();
    await until(() => producer.isUp, "back");
    await producer.send(row(1));
    clearInterval(looks);
    producer.close();
  }, 30_000);

  test("a cluster that comes back empty gets its topics again", async () => {
    const settings = settingsFor(kafka.brokers);
    const producer = await startProducer(settings);
    await producer.send(row(1));
    await kafka.kill();
    await kafka.start({ data: "empty" });
    await until(
      () =>
        producer.isUp &&
        producer.send(row(1)).then(
          () => true,
          () => false,
        ),
      "sent again",
    );
    expect(await producer.ends([0])).toEqual(new Map([[0, 1]]));
    producer.close();
  }, 30_000);

  test("a log that others made keeps its partitions", async () => {
    const settings = settingsFor(kafka.brokers);
    const client = new Kafka({ brokers: [kafka.brokers], logLevel: logLevel.NOTHING });
    const admin = client.admin();
    await admin.connect();
    await admin.createTopics({ topics: [{ topic: `${settings.prefix}.log`, numPartitions: 3 }], waitForLeaders: true });
    await admin.disconnect();
    expect(await ensureTopics(settings)).toBe(3);
  });
});
