import type { Batch, Consumer, EachBatchPayload } from "kafkajs";
import { log } from "../../telemetry/log.ts";
import type { Applier } from "./applier.ts";
import { KafkaLink, type KafkaSettings, logTopic, projectorGroup } from "./client.ts";
import { reasonOf } from "./errors.ts";
import { Signal, within } from "./wait.ts";

/** The log does not have what the ledger's position promises. Reading goes on at `from`. */
export interface LogAlert {
  /**
   * `ahead`: the position is behind the partition's end, so the topic was cut or made again; `expired`: before its
   * start, so records were removed that nobody had applied; `gap`: the log itself leaves offsets out (somebody's
   * transactions).
   */
  kind: "ahead" | "expired" | "gap";
  partition: number;
  position: number;
  start: number;
  end: number;
  from: number;
}

interface SessionHandlers {
  /** Where the ledger wants to read on; partitions that are not in the answer are read from the log's start. */
  positions(partitions: number[]): Promise<Map<number, number>>;
  alert(alert: LogAlert): void;
  /** The group gave us these partitions, and they are being read. */
  onReading(partitions: number[]): void;
}

interface SessionTimes {
  sessionMs: number;
  heartbeatMs: number;
}

/** A partition that is being read. `end` is what the broker last said. */
interface Reading {
  next: number;
  end: number;
  strays: number;
}

const REQUEST_MS_MAX = 5_000;
const STOP_MS_MAX = 3_000;
/** How long a fetch waits at the end of the log; also how long a paused partition may take to be noticed. */
const FETCH_WAIT_MS = 500;
const FETCH_BYTES_MAX = 8 * 1024 * 1024;
const PARTITION_BYTES_MAX = 1024 * 1024;
/**
 * Between two fetches at the end of the log: without it each send of a node is fetched by itself, and answering that takes the
 * broker as long as the send. Measured: 10 to 20 % more likes a second. What was read is gathered for longer anyway.
 */
const FETCH_REST_MS = 50;
const ROOM_WAIT_MS = 200;
const PLACE_RETRY_MS = 500;
/** A new leader may not know the end yet. */
const AHEAD_LOOKS = 3;
const STRAYS_MAX = 3;
const LOG_EVERY_MS = 10_000;

/**
 * One life of a member of the projectors' group, from connecting to the first error that kafkajs does not get over.
 *
 * Where to read is the ledger's to say, never Kafka's committed offsets. kafkajs starts to fetch from those as soon as
 * it has joined, and awaits no handler; but it calls the handler of GROUP_JOIN before its first fetch, so that pauses
 * all partitions, and each is read only after it was placed: asked for, checked against the log's bounds, sought.
 *
 * A batch counts only if it was fetched from exactly where the partition is to be read on. What was fetched before a
 * rebalance or a seek falls to that, and so does kafkajs's silent jump to the log's start when an offset is out of
 * range.
 */
export class Session {
  readonly #topic: string;
  readonly #applier: Applier;
  readonly #handlers: SessionHandlers;
  readonly #link: KafkaLink;
  readonly #consumer: Consumer;
  readonly #ended = Promise.withResolvers<unknown>();
  readonly #stopping = new Signal();
  readonly #readings = new Map<number, Reading>();
  #generation = 0;
  #isOver = false;
  /** Since the last fetch began. */
  #isRested = false;

  constructor(settings: KafkaSettings, applier: Applier, handlers: SessionHandlers, times: SessionTimes) {
    this.#topic = logTopic(settings.prefix);
    this.#applier = applier;
    this.#handlers = handlers;
    this.#link = new KafkaLink(settings, REQUEST_MS_MAX);
    this.#consumer = this.#link.kafka.consumer({
      groupId: projectorGroup(settings.prefix),
      sessionTimeout: times.sessionMs,
      heartbeatInterval: times.heartbeatMs,
      rebalanceTimeout: times.sessionMs,
      maxWaitTimeInMs: FETCH_WAIT_MS,
      maxBytes: FETCH_BYTES_MAX,
      maxBytesPerPartition: PARTITION_BYTES_MAX,
      allowAutoTopicCreation: false,
      retry: { retries: 5, initialRetryTime: 100, maxRetryTime: 1_000, restartOnFailure: async () => false },
    });
    const { CRASH, GROUP_JOIN, FETCH_START } = this.#consumer.events;
    this.#consumer.on(CRASH, ({ payload }) => this.#end(payload.error));
    this.#consumer.on(FETCH_START, () => {
      this.#isRested = false;
    });
    this.#consumer.on(GROUP_JOIN, ({ payload }) => this.#joined(payload.memberAssignment[this.#topic] ?? []));
  }

  /** What is being read: where each partition ends, as far as known. */
  get ends(): Map<number, number> {
    return new Map([...this.#readings].map(([partition, { end }]) => [partition, end]));
  }

  /** Reads until it cannot any more; why. Null after `stop`. */
  async run(): Promise<unknown> {
    try {
      await within(this.#consumer.connect(), REQUEST_MS_MAX);
      await within(this.#consumer.subscribe({ topics: [this.#topic], fromBeginning: true }), REQUEST_MS_MAX);
      if (!this.#isOver) {
        await this.#consumer.run({
          autoCommit: false,
          eachBatchAutoResolve: false,
          eachBatch: (payload) => this.#read(payload),
        });
      }
    } catch (error) {
      this.#end(error);
    }
    const reason = await this.#ended.promise;
    this.#link.cut();
    return reason;
  }

  /** Leaves the group, so that others need not wait for its session to run out. */
  async stop(): Promise<void> {
    this.#isOver = true;
    this.#generation++;
    this.#readings.clear();
    this.#stopping.fire();
    await within(this.#consumer.disconnect(), STOP_MS_MAX).catch(() => {});
    this.#end(null);
  }

  #end(reason: unknown): void {
    this.#isOver = true;
    this.#generation++;
    this.#readings.clear();
    this.#stopping.fire();
    this.#ended.resolve(reason);
  }

  /** Called before anything of the new assignment is fetched. */
  #joined(partitions: number[]): void {
    if (this.#isOver) return;
    this.#generation++;
    this.#readings.clear();
    this.#consumer.pause([{ topic: this.#topic, partitions }]);
    void this.#place(this.#generation, partitions, null);
  }

  /** Finds out where to read on, and begins to. `known`: not the ledger's positions but these. */
  async #place(generation: number, partitions: number[], known: Map<number, number> | null): Promise<void> {
    // What was gathered belongs to the assignment before; what is being applied moves the positions that are asked for
    // next.
    if (known === null) await this.#applier.drop();
    while (generation === this.#generation) {
      try {
        const positions = known ?? (await this.#handlers.positions(partitions));
        const bounds = await this.#boundsFor(positions);
        if (generation !== this.#generation) return;
        for (const partition of partitions) this.#begin(partition, positions.get(partition), bounds.get(partition));
        this.#consumer.resume([{ topic: this.#topic, partitions }]);
        this.#handlers.onReading([...this.#readings.keys()]);
        return;
      } catch (error) {
        if (generation !== this.#generation) return;
        log.limited("log place", LOG_EVERY_MS).warn("where to read the log on cannot be found out now", {
          part: "kafka",
          reason: reasonOf(error),
        });
        await this.#stopping.wait(PLACE_RETRY_MS);
      }
    }
  }

  #begin(partition: number, asked: number | undefined, bounds: Bounds | undefined): void {
    if (!bounds) throw new Error(`partition ${partition} has no bounds`);
    const { start, end } = bounds;
    const position = asked ?? start;
    const kind = position > end ? "ahead" : position < start ? "expired" : null;
    const from = kind === null ? position : start;
    if (kind !== null) {
      this.#handlers.alert({ kind, partition, position, start, end, from });
      // At once, not with the next message: who waits for the position to pass something must not take the old one for
      // it.
      this.#applier.moveTo(partition, from);
    }
    this.#readings.set(partition, { next: from, end, strays: 0 });
    this.#consumer.seek({ topic: this.#topic, partition, offset: String(from) });
  }

  /** The partitions' bounds; looked at again where a position is ahead of one. */
  async #boundsFor(positions: Map<number, number>): Promise<Map<number, Bounds>> {
    const admin = this.#link.kafka.admin({ retry: { retries: 1 } });
    await within(admin.connect(), REQUEST_MS_MAX);
    try {
      for (let look = 1; ; look++) {
        const offsets = await within(admin.fetchTopicOffsets(this.#topic), REQUEST_MS_MAX);
        const bounds = new Map(
          offsets.map(({ partition, low, high }) => [partition, { start: Number(low), end: Number(high) }]),
        );
        const isAhead = [...positions].some(([partition, position]) => position > (bounds.get(partition)?.end ?? 0));
        if (!isAhead || look === AHEAD_LOOKS) return bounds;
        await this.#stopping.wait(PLACE_RETRY_MS);
      }
    } finally {
      admin.disconnect().catch(() => {});
    }
  }

  async #read({ batch, resolveOffset, heartbeat }: EachBatchPayload): Promise<void> {
    const { partition } = batch;
    const generation = this.#generation;
    if (!this.#isNext(batch)) return;
    while (this.#applier.isFull) {
      await this.#applier.room(ROOM_WAIT_MS);
      await heartbeat();
      if (generation !== this.#generation) return;
    }
    const reading = this.#readings.get(partition);
    if (!reading) return;
    const last = batch.lastOffset();
    this.#applier.add(partition, batch.messages, Number(last) + 1);
    reading.next = Number(last) + 1;
    reading.end = Number(batch.highWatermark);
    reading.strays = 0;
    resolveOffset(last);
    if (this.#isRested || reading.next < reading.end) return;
    this.#isRested = true;
    await this.#stopping.wait(FETCH_REST_MS);
  }

  /**
   * Whether the batch was fetched from where the partition is to be read on; otherwise sees to it that the next one is.
   */
  #isNext(batch: Batch): boolean {
    const { partition } = batch;
    const reading = this.#readings.get(partition);
    if (!reading) return false;
    const fetched = Number((batch as Batch & { fetchedOffset: string }).fetchedOffset);
    if (fetched === reading.next) return true;
    // kafkajs steps over what it does not show, the marks of transactions, and would again and again.
    if (++reading.strays > STRAYS_MAX && fetched > reading.next) {
      const { next, end } = reading;
      this.#handlers.alert({ kind: "gap", partition, position: next, start: fetched, end, from: fetched });
      reading.next = fetched;
      return true;
    }
    const { next } = reading;
    const { strays } = reading;
    this.#consumer.pause([{ topic: this.#topic, partitions: [partition] }]);
    this.#readings.delete(partition);
    void this.#place(this.#generation, [partition], new Map([[partition, next]])).then(() => {
      const placed = this.#readings.get(partition);
      if (placed?.next === next) placed.strays = strays;
    });
    return false;
  }
}

interface Bounds {
  start: number;
  end: number;
}
