import { SHARDS, shardOfSubject } from "../../src/arithmetic/shard.ts";
import { stampAt, stampOf, timeOf } from "../../src/arithmetic/stamp.ts";
import { type KafkaSettings, logTopic } from "../../src/cluster/kafka/client.ts";
import { KafkaProducer } from "../../src/cluster/kafka/producer.ts";
import type { OutgoingMessage } from "../../src/cluster/kafka/rounds.ts";
import { partitionsOf } from "../../src/cluster/kafka/topics.ts";
import { FrameWriter } from "../../src/records.ts";
import { setUpLog } from "../../src/telemetry/log.ts";
import { type FillPlan, likedAt, requestsIn } from "./fill-plan.ts";

/** The default of `--prefix`. */
const PREFIX = "tally";
const SOURCE = "0123456789abcdefr";
/** In one message: what a busy node sends, whose acts of some milliseconds are spread over the partitions. */
const FRAME_RECORDS = 16;
/** Sent together. */
const CHUNK_RECORDS = 50_000;
const SEND_MS_MAX = 60_000;
const DAY_MS = 86_400_000;

/** What the log holds afterwards. */
export interface Written {
  readonly messages: number;
  readonly bytes: number;
}

/** Writes likes into the log as a node would, into a topic that is there already. */
export async function writeLikes(options: {
  brokers: string;
  plan: FillPlan & { kind: "likes" };
  metric: number;
}): Promise<Written> {
  setUpLog({ level: "warn", format: "pretty", fd: 2 });
  const settings = settingsOf(options.brokers);
  const topic = logTopic(PREFIX);
  const partitions = await partitionsOf(settings, topic);
  if (partitions === null) throw new Error(`no topic ${topic}`);
  const producer = new KafkaProducer(settings, { topic, deadlineMs: SEND_MS_MAX });
  await producer.start();
  const likes = new Likes(options.plan, { metric: options.metric, partitions });
  let [messages, bytes] = [0, 0];
  try {
    for (let chunk = likes.next(); chunk.length > 0; chunk = likes.next()) {
      await producer.send(chunk);
      messages += chunk.length;
      for (const { value } of chunk) bytes += value?.length ?? 0;
    }
  } finally {
    producer.close();
  }
  return { messages, bytes };
}

/** A plan's likes as messages, some at a time. */
class Likes {
  readonly #plan: FillPlan & { kind: "likes" };
  readonly #metric: number;
  readonly #writers: FrameWriter[];
  readonly #last = new Float64Array(SHARDS);
  readonly #time = timeOf(stampAt(Date.now() - DAY_MS, true));
  readonly #subject = Buffer.alloc(256);
  #index = 0;

  constructor(plan: FillPlan & { kind: "likes" }, { metric, partitions }: { metric: number; partitions: number }) {
    this.#plan = plan;
    this.#metric = metric;
    this.#writers = Array.from({ length: partitions }, () => new FrameWriter());
  }

  /** Nothing when all have been given. */
  next(): OutgoingMessage[] {
    const messages: OutgoingMessage[] = [];
    const end = Math.min(this.#index + CHUNK_RECORDS, requestsIn(this.#plan));
    for (const writer of this.#writers) writer.begin(SOURCE);
    for (; this.#index < end; this.#index++) {
      const partition = this.#add(this.#index);
      const writer = this.#writers[partition] as FrameWriter;
      if (writer.count < FRAME_RECORDS) continue;
      messages.push(messageOf(writer, partition));
      writer.begin(SOURCE);
    }
    for (const [partition, writer] of this.#writers.entries()) {
      if (writer.count > 0) messages.push(messageOf(writer, partition));
    }
    return messages;
  }

  /** The partition it belongs to. */
  #add(index: number): number {
    const { subject, actor } = likedAt(this.#plan, index);
    const shard = shardOfSubject(this.#subject, this.#subject.latin1Write(subject));
    const n = (this.#last[shard] as number) + 1;
    this.#last[shard] = n;
    const partition = shard % this.#writers.length;
    const stamp = stampOf(this.#time + index, true);
    const writer = this.#writers[partition] as FrameWriter;
    writer.add({ kind: "relation", shard, n, metric: this.#metric, subject, actor, stamp });
    return partition;
  }
}

function messageOf(writer: FrameWriter, partition: number): OutgoingMessage {
  return { partition, key: String(partition), value: Buffer.from(writer.finish()) };
}

function settingsOf(brokers: string): KafkaSettings {
  return {
    kafkaBrokers: brokers.split(","),
    kafkaTls: false,
    kafkaCa: null,
    kafkaSasl: null,
    kafkaUsername: null,
    kafkaPassword: null,
    prefix: PREFIX,
    kafkaPartitions: 4,
    logRetention: 7 * DAY_MS,
  };
}
