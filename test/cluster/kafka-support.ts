import type { KafkaSettings } from "../../src/cluster/kafka/client.ts";
import { type ConsumerHandlers, type ConsumerOptions, LogConsumer } from "../../src/cluster/kafka/consumer.ts";
import type { LogMessage } from "../../src/cluster/kafka/gather.ts";
import { KafkaProducer } from "../../src/cluster/kafka/producer.ts";
import type { OutgoingMessage } from "../../src/cluster/kafka/rounds.ts";
import { ensureTopics } from "../../src/cluster/kafka/topics.ts";
import { FrameWriter } from "../../src/records.ts";

export const LOG_PARTITIONS = 16;
export const PARTITIONS = Array.from({ length: LOG_PARTITIONS }, (_, partition) => partition);

let prefixes = 0;

export function settingsFor(brokers: string, prefix = `t${process.pid}-${++prefixes}`): KafkaSettings {
  return {
    kafkaBrokers: [brokers],
    kafkaTls: false,
    kafkaCa: null,
    kafkaSasl: null,
    kafkaUsername: null,
    kafkaPassword: null,
    prefix,
    kafkaPartitions: LOG_PARTITIONS,
    logRetention: 7 * 86_400_000,
  };
}

const writer = new FrameWriter();

/** A frame of one record, number `n` of its partition's shard. */
export function message(partition: number, n: number): OutgoingMessage {
  writer.begin("source");
  writer.add({ kind: "relation", shard: partition, n, metric: 1, subject: "article/1", actor: "7", stamp: 2 * n + 1 });
  return { partition, key: String(partition), value: Buffer.from(writer.finish()) };
}

/** Of 800 KB: a fetch brings one of them. */
export function longMessage(partition: number, n: number): OutgoingMessage {
  writer.begin("source");
  for (let i = 0; i < 5_000; i++) {
    const subject = `article/${"x".repeat(120)}`;
    writer.add({ kind: "relation", shard: partition, n, metric: 1, subject, actor: "7", stamp: 2 * n + 1 });
  }
  return { partition, key: String(partition), value: Buffer.from(writer.finish()) };
}

export function numberOf({ frame }: LogMessage): number {
  return frame.records[0]?.n ?? 0;
}

/** Number `n` in every partition. */
export const row = (n: number) => PARTITIONS.map((partition) => message(partition, n));

/** The producer of the log, whose topics exist. */
export async function startProducer(settings: KafkaSettings): Promise<KafkaProducer> {
  const onMissing = () => ensureTopics(settings);
  await onMissing();
  const producer = new KafkaProducer(settings, { topic: `${settings.prefix}.log`, onMissing });
  await producer.start();
  return producer;
}

export async function until(condition: () => boolean | Promise<boolean>, what: string, ms = 15_000): Promise<void> {
  const deadline = performance.now() + ms;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`not within ${ms} ms: ${what}`);
    await Bun.sleep(5);
  }
}

/** A ledger in memory: positions, and the numbers as they came, for each partition. */
export class MemoryLedger {
  readonly positions = new Map<number, number>();
  readonly numbers = new Map<number, number[]>();

  apply(messages: readonly LogMessage[], positions: ReadonlyMap<number, number>): void {
    for (const each of messages) {
      const numbers = this.numbers.get(each.partition);
      if (numbers) numbers.push(numberOf(each));
      else this.numbers.set(each.partition, [numberOf(each)]);
    }
    for (const [partition, position] of positions) this.positions.set(partition, position);
  }

  /** The first occurrence of each number, in the order they came. */
  firsts(partition: number): number[] {
    return [...new Set(this.numbers.get(partition))];
  }

  get count(): number {
    return [...this.numbers.values()].reduce((sum, numbers) => sum + numbers.length, 0);
  }

  handlers(more: Partial<ConsumerHandlers> = {}): ConsumerHandlers {
    return {
      positions: async () => new Map(this.positions),
      apply: async (messages, positions) => this.apply(messages, positions),
      alert: (alert) => {
        throw new Error(`unexpected alert ${JSON.stringify(alert)}`);
      },
      ...more,
    };
  }
}

/** Reads the log from its start to where it ends now. */
export async function readAll(settings: KafkaSettings, producer: KafkaProducer): Promise<MemoryLedger> {
  const ends = await producer.ends(PARTITIONS);
  const ledger = new MemoryLedger();
  const consumer = startConsumer(settings, ledger.handlers());
  try {
    const isRead = () => [...ends].every(([partition, end]) => (ledger.positions.get(partition) ?? 0) >= end);
    await until(isRead, "the whole log read");
  } finally {
    await consumer.stop();
  }
  return ledger;
}

export const FAST: ConsumerOptions = { gatherMs: 20, sessionMs: 2_000 };

export function startConsumer(
  settings: KafkaSettings,
  handlers: ConsumerHandlers,
  options: ConsumerOptions = FAST,
): LogConsumer {
  const consumer = new LogConsumer(settings, handlers, options);
  consumer.start();
  return consumer;
}
