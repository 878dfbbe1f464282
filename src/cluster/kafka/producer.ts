import type { Admin, Producer, RecordMetadata } from "kafkajs";
import { log } from "../../telemetry/log.ts";
import { KafkaAway, KafkaLink, type KafkaSettings } from "./client.ts";
import { errorType, reasonOf } from "./errors.ts";
import { bytesOf, type OutgoingMessage, ROUND_BYTES_MAX, rounds } from "./rounds.ts";
import { Signal, TimeUp, within } from "./wait.ts";

export interface ProducerOptions {
  topic: string;
  /** How long a request may take, until it counts as lost. */
  deadlineMs?: number;
  /**
   * How many partitions the topic has; `other` is told where it has another number (it was altered, or made by others). Then
   * nothing is sent to it: records would be where nobody looks for them.
   */
  partitions?: { expected: number; other(found: number): void };
  /** The topic is gone (a cluster that lost everything): make it again. */
  onMissing?: () => Promise<unknown>;
  /** Who asks for `isUp` tells people. */
  isQuiet?: boolean;
  /** Kafka came or went. Not called for the state at the start. */
  onState?: (isUp: boolean) => void;
}

const DEADLINE_MS = 1_000;
/** The broker answers before we stop listening. */
const ANSWER_EARLY_MS = 150;
/** What a request may take longer for its size: 10 MB/s. */
const BYTES_PER_MS = 10_000;
const CONNECT_MS_MAX = 5_000;
const PROBE_MS_MIN = 250;
const PROBE_MS_MAX = 1_000;
const AGAIN_MS = 30;
/** So long no answer has to come before `look` asks for one. */
const QUIET_MS = 3_000;
/** And so long that may take: a broker that is only slow is not left for it. */
const SILENT_MS = 2_000;
/** A link that lived shorter was none: the next probe waits longer. */
const STEADY_MS = 5_000;
const STATE_LOG_EVERY_MS = 10_000;

interface Link {
  kafka: KafkaLink;
  producer: Producer;
  admin: Promise<Admin>;
  upSinceMs: number;
  /** Whether a send has succeeded since Kafka was away. Until then one failure is enough. */
  isProven: boolean;
}

/**
 * Writes to one topic, with acks=all, one request at a time.
 *
 *     connecting ──▸ up ──▸ away ──▸ up …      closed from any
 *
 * Promises: what `send` resolved for is in the log on every in-sync replica, in the order given within a partition.
 * What it rejected for may be there or not, also later: a request that a stopped broker still has in its socket is
 * written when it wakes up, behind what was sent meanwhile. So the caller sends the same again, from the first message
 * that was not resolved, before anything newer: then the first occurrences are in order, and repetitions are known by
 * their numbers.
 *
 * Not idempotent in Kafka's sense. That would number the batches so that the broker drops repetitions, but kafkajs
 * takes a number back whose answer was lost, gives it to other messages, and the broker drops these as repetitions. Its
 * own retries are off, too: a partition whose leader moved meanwhile to a broker that had already answered is not sent
 * again, and reported as sent. (So each answer is also checked for every partition.)
 */
export class KafkaProducer {
  readonly #settings: KafkaSettings;
  readonly #options: ProducerOptions;
  readonly #deadlineMs: number;
  readonly #closing = new Signal();
  #link: Link | null = null;
  #isClosed = false;
  #isSending = false;
  #isConnecting = false;
  #probeMs = PROBE_MS_MIN;
  #awayReason = "not connected yet";
  /** When it answered a send or a connection last, or was asked by `look`. */
  #heardMs = 0;

  constructor(settings: KafkaSettings, options: ProducerOptions) {
    this.#settings = settings;
    this.#options = options;
    this.#deadlineMs = options.deadlineMs ?? DEADLINE_MS;
  }

  get isUp(): boolean {
    return this.#link !== null;
  }

  /** Why it was away last. */
  get awayReason(): string {
    return this.#awayReason;
  }

  /** Connects. Resolves after the first try; where it failed, `isUp` is false and it goes on in the background. */
  async start(): Promise<void> {
    try {
      this.#take(await this.#connect());
    } catch (error) {
      this.#awayReason = reasonOf(error);
      this.#say(false);
      void this.#reconnect(error);
    }
  }

  /**
   * Sends everything, or rejects: with KafkaAway after the deadline, and at once while Kafka is known to be away. The
   * last offset in each partition. One call at a time; the deadline is for each request of up to 8 MB, or 1 MB for a
   * partition.
   */
  async send(messages: readonly OutgoingMessage[]): Promise<Map<number, number>> {
    if (this.#isSending) throw new Error("a send is under way: the order would be lost");
    this.#isSending = true;
    try {
      const last = new Map<number, number>();
      for (const round of rounds(messages)) await this.#sendRound(round, last);
      return last;
    } finally {
      this.#isSending = false;
    }
  }

  /** Where each partition ends: the offset of its next message. KafkaAway after the deadline. */
  async ends(partitions: Iterable<number>, deadlineMs = this.#deadlineMs): Promise<Map<number, number>> {
    const link = this.#link;
    if (!link) throw this.#away();
    const asked = link.admin;
    try {
      const offsets = await within(
        asked.then((admin) => admin.fetchTopicOffsets(this.#options.topic)),
        deadlineMs,
      );
      const ends = new Map(offsets.map(({ partition, high }) => [partition, Number(high)]));
      return new Map(
        [...partitions].map((partition) => {
          const end = ends.get(partition);
          if (end === undefined) throw new Error(`partition ${partition} has no end`);
          return [partition, end];
        }),
      );
    } catch (error) {
      // Of several that it failed for the first has replaced it.
      if (link.admin === asked) {
        asked.then((admin) => admin.disconnect()).catch(() => {});
        if (this.#link === link) link.admin = connectAdmin(link.kafka);
      }
      throw new KafkaAway(reasonOf(error), { cause: error });
    }
  }

  /**
   * To be called now and then: is Kafka still there while nobody sends? A broker that hangs closes no connection. It is for who
   * asks `isUp`, and for the next act, which need not find it out by a deadline.
   */
  async look(): Promise<void> {
    const link = this.#link;
    if (!link || this.#isSending || performance.now() - this.#heardMs < QUIET_MS) return;
    this.#heardMs = performance.now();
    try {
      await this.ends([], SILENT_MS);
    } catch (error) {
      // A leader that moves is an answer, too.
      if (!PASSING.has(errorType(error) ?? "")) await this.#renew(link);
    }
  }

  /** Ends at once; a send under way rejects. */
  close(): void {
    this.#isClosed = true;
    this.#awayReason = "closed";
    this.#closing.fire();
    const link = this.#link;
    this.#link = null;
    link?.kafka.cut();
  }

  async #sendRound(round: OutgoingMessage[], last: Map<number, number>): Promise<void> {
    let bytes = 0;
    for (const message of round) bytes += bytesOf(message);
    const deadlineMs = this.#deadlineMs + bytes / BYTES_PER_MS;
    const untilMs = performance.now() + deadlineMs;
    let problem: unknown = null;
    for (;;) {
      const link = this.#link;
      if (!link) throw this.#away();
      try {
        const answer = link.producer.send({
          topic: this.#options.topic,
          messages: round,
          acks: -1,
          timeout: Math.max(1, Math.round(deadlineMs - ANSWER_EARLY_MS)),
        });
        settle(round, await within(answer, Math.max(0, untilMs - performance.now())), last);
        if (!link.isProven) this.#prove(link);
        this.#heardMs = performance.now();
        return;
      } catch (error) {
        // The first problem is the reason, what its repetitions meet is not.
        problem ??= error;
        // A leader that moves, or a connection that ended, is no reason to go to the spool: the same again in the time
        // left.
        const isLost = !link.isProven || error instanceof TimeUp || performance.now() + AGAIN_MS > untilMs;
        if (isLost || !isPassing(error)) {
          this.#lose(link, problem);
          throw new KafkaAway(reasonOf(problem), { cause: problem });
        }
      }
      await Bun.sleep(AGAIN_MS);
    }
  }

  #away(): KafkaAway {
    return new KafkaAway(this.#awayReason);
  }

  #prove(link: Link): void {
    link.isProven = true;
    this.#probeMs = PROBE_MS_MIN;
  }

  #take(link: Link): void {
    if (this.#isClosed) {
      link.kafka.cut();
      return;
    }
    this.#link?.kafka.cut();
    this.#link = link;
    this.#heardMs = performance.now();
    link.kafka.onClosed = () => void this.#renew(link);
  }

  #lose(link: Link, error: unknown): void {
    link.kafka.cut();
    if (this.#link !== link) return;
    this.#link = null;
    this.#awayReason = reasonOf(error);
    if (performance.now() - link.upSinceMs < STEADY_MS) this.#probeMs = Math.min(this.#probeMs * 2, PROBE_MS_MAX);
    this.#say(false);
    this.#options.onState?.(false);
    void this.#reconnect(error);
  }

  /** Its connection ended or is silent while nothing is sent (a broker went, or cleans up idle ones): another one, or away. */
  async #renew(link: Link): Promise<void> {
    if (this.#link !== link || this.#isConnecting || this.#isClosed) return;
    this.#isConnecting = true;
    try {
      const fresh = await this.#connect();
      // A send that is under way has noticed by itself, and may be succeeding over another broker.
      if (this.#link !== link || this.#isSending) fresh.kafka.cut();
      else this.#take(Object.assign(fresh, { isProven: link.isProven }));
    } catch (error) {
      if (this.#link === link && !this.#isSending) this.#lose(link, error);
    } finally {
      this.#isConnecting = false;
    }
  }

  async #reconnect(why: unknown): Promise<void> {
    let reason = why;
    while (!this.#isClosed && !this.#link) {
      await this.#closing.wait(this.#probeMs);
      if (this.#isClosed) return;
      try {
        if (errorType(reason) === "UNKNOWN_TOPIC_OR_PARTITION") await this.#options.onMissing?.();
        this.#take(await this.#connect());
      } catch (error) {
        reason = error;
        this.#awayReason = reasonOf(error);
      }
    }
    if (!this.#link) return;
    this.#say(true);
    this.#options.onState?.(true);
  }

  /**
   * A new client that has found every partition's leader. To send nothing makes it learn who they are; to ask for the
   * ends says whether they answer, as the metadata name a dead leader for some seconds more.
   */
  async #connect(): Promise<Link> {
    const kafka = new KafkaLink(this.#settings, this.#deadlineMs + ROUND_BYTES_MAX / BYTES_PER_MS);
    const producer = kafka.kafka.producer({
      allowAutoTopicCreation: false,
      retry: { retries: 0 },
      createPartitioner:
        () =>
        ({ message }) =>
          message.partition as number,
    });
    const admin = connectAdmin(kafka);
    const { topic } = this.#options;
    const asking = Promise.all([
      producer.connect().then(() => producer.send({ topic, messages: [] })),
      admin.then((connected) => connected.fetchTopicOffsets(topic)),
    ]);
    try {
      const [, ends] = await within(asking, CONNECT_MS_MAX);
      this.#checkPartitions(ends.length);
    } catch (error) {
      kafka.cut();
      throw error;
    }
    return { kafka, producer, admin, upSinceMs: performance.now(), isProven: false };
  }

  #checkPartitions(found: number): void {
    const { partitions } = this.#options;
    if (partitions === undefined || partitions.expected === found) return;
    partitions.other(found);
    throw new KafkaAway(`${this.#options.topic} has ${found} partitions instead of ${partitions.expected}`);
  }

  #say(isUp: boolean): void {
    const limited = log.limited(`kafka ${isUp ? "up" : "away"}`, STATE_LOG_EVERY_MS);
    const fields = { part: "kafka", topic: this.#options.topic, ...(isUp ? {} : { reason: this.#awayReason }) };
    const text = `Kafka is ${isUp ? "back" : "away"}`;
    if (this.#options.isQuiet) limited.debug(text, fields);
    else if (isUp) limited.info(text, fields);
    else limited.warn(text, fields);
  }
}

function connectAdmin(kafka: KafkaLink): Promise<Admin> {
  const admin = kafka.kafka.admin({ retry: { retries: 0 } });
  const connecting = admin.connect().then(() => admin);
  connecting.catch(() => {}); // whoever uses it is told
  return connecting;
}

/** Checks that every partition has answered, and notes where it ends. */
function settle(round: readonly OutgoingMessage[], answers: RecordMetadata[], last: Map<number, number>): void {
  const counts = new Map<number, number>();
  for (const { partition } of round) counts.set(partition, (counts.get(partition) ?? 0) + 1);
  for (const { partition, errorCode, baseOffset } of answers) {
    const count = counts.get(partition);
    const offset = Number(baseOffset ?? Number.NaN);
    if (count === undefined || errorCode !== 0 || !(offset >= 0)) continue;
    last.set(partition, offset + count - 1);
    counts.delete(partition);
  }
  if (counts.size > 0) throw new KafkaAway(`no acknowledgement for partition ${[...counts.keys()].join(", ")}`);
}

/** Errors that the next try may not meet, as the client has asked for the leaders again. */
const PASSING = new Set([
  "LEADER_NOT_AVAILABLE",
  "NOT_LEADER_FOR_PARTITION",
  "FENCED_LEADER_EPOCH",
  "UNKNOWN_LEADER_EPOCH",
  "NETWORK_EXCEPTION",
  "NOT_ENOUGH_REPLICAS",
  "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
]);

function isPassing(error: unknown): boolean {
  const type = errorType(error);
  if (type !== null) return PASSING.has(type);
  return error instanceof Error && error.name !== "TypeError";
}
