import { log } from "../../telemetry/log.ts";
import { Applier } from "./applier.ts";
import { type KafkaSettings, logTopic } from "./client.ts";
import { DeadLetters } from "./dead-letters.ts";
import { reasonOf } from "./errors.ts";
import type { LogMessage } from "./gather.ts";
import { type LogAlert, Session } from "./session.ts";
import { Signal } from "./wait.ts";

export interface ConsumerHandlers {
  /** Where the ledger wants to read on; partitions that are not in the answer are read from the log's start. */
  positions(partitions: number[]): Promise<Map<number, number>>;
  /**
   * Applies messages, in order within each partition, and stores the positions behind them, in one transaction. There
   * may be no messages, and a position may be lower than the one before (after an alert). Rejecting means: the same
   * again later; Poison: without that message.
   */
  apply(messages: LogMessage[], positions: Map<number, number>): Promise<void>;
  /** The log does not have what the position promises. Reading goes on by itself. */
  alert(alert: LogAlert): void;
  /** Whether the log can be read. Not called for the state at the start, which is no. */
  onState?(isUp: boolean): void;
}

export interface ConsumerOptions {
  gatherMs?: number;
  gatherRecords?: number;
  gatherBytes?: number;
  /** How long a member that died keeps its partitions. */
  sessionMs?: number;
}

const GATHER_MS = 200;
const GATHER_RECORDS = 20_000;
const GATHER_BYTES = 8 * 1024 * 1024;
/** The shortest that brokers allow (group.min.session.timeout.ms). */
const SESSION_MS = 6_000;
const HEARTBEATS_A_SESSION = 4;
const AGAIN_MS_MIN = 250;
const AGAIN_MS_MAX = 2_000;
const STATE_LOG_EVERY_MS = 10_000;

/**
 * Reads the log as one of the projectors' group, and hands it to `apply`: gathered from several partitions, one call at
 * a time, each message at least once, in order within a partition. Survives what Kafka does; goes on until `stop`.
 */
export class LogConsumer {
  readonly #settings: KafkaSettings;
  readonly #handlers: ConsumerHandlers;
  readonly #applier: Applier;
  readonly #deadLetters: DeadLetters;
  readonly #sessionMs: number;
  readonly #stopping = new Signal();
  readonly #applied = new Map<number, number>();
  #session: Session | null = null;
  #running: Promise<void> | null = null;
  #isStopped = false;
  #isUp = false;

  constructor(settings: KafkaSettings, handlers: ConsumerHandlers, options: ConsumerOptions = {}) {
    this.#settings = settings;
    this.#handlers = handlers;
    this.#sessionMs = options.sessionMs ?? SESSION_MS;
    this.#deadLetters = new DeadLetters(settings);
    this.#applier = new Applier(
      {
        apply: async (messages, positions) => {
          await handlers.apply(messages, positions);
          for (const [partition, position] of positions) this.#applied.set(partition, position);
        },
        putAside: (messages) => this.#deadLetters.put(messages),
      },
      {
        gatherMs: options.gatherMs ?? GATHER_MS,
        records: options.gatherRecords ?? GATHER_RECORDS,
        bytes: options.gatherBytes ?? GATHER_BYTES,
      },
    );
  }

  /** The partitions that are being read. */
  get partitions(): number[] {
    return [...(this.#session?.ends.keys() ?? [])];
  }

  /** Of the partitions being read: where they end, as far as the broker has told, and what is applied of them. */
  get read(): Map<number, { end: number; applied: number }> {
    const ends = [...(this.#session?.ends ?? [])];
    return new Map(ends.map(([partition, end]) => [partition, { end, applied: this.#applied.get(partition) ?? end }]));
  }

  /** How many messages of them are not yet applied. */
  get lag(): number {
    let lag = 0;
    for (const { end, applied } of this.read.values()) lag += Math.max(0, end - applied);
    return lag;
  }

  /** Messages put into the dead-letter topic since the start. */
  get deadLetters(): number {
    return this.#deadLetters.count;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Nothing goes to `apply` until `resume`; the group keeps us. Resolves when nothing is in it. */
  pause(): Promise<void> {
    return this.#applier.pause();
  }

  resume(): void {
    this.#applier.resume();
  }

  /** Waits for what is being applied, and leaves the group. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#stopping.fire();
    await Promise.all([this.#session?.stop(), this.#applier.stop()]);
    await this.#running;
    this.#deadLetters.close();
  }

  async #run(): Promise<void> {
    let againMs = AGAIN_MS_MIN;
    while (!this.#isStopped) {
      const session = this.#newSession(() => {
        againMs = AGAIN_MS_MIN;
      });
      this.#session = session;
      const reason = await session.run();
      this.#session = null;
      if (this.#isStopped) return;
      this.#setUp(false, reason);
      await this.#stopping.wait(againMs);
      againMs = Math.min(againMs * 2, AGAIN_MS_MAX);
    }
  }

  #newSession(onReading: () => void): Session {
    return new Session(
      this.#settings,
      this.#applier,
      {
        positions: async (partitions) => {
          const positions = await this.#handlers.positions(partitions);
          for (const partition of partitions) this.#applied.set(partition, positions.get(partition) ?? 0);
          return positions;
        },
        alert: (alert) => {
          // Most often it is all partitions at once.
          const limited = log.limited(`log ${alert.kind}`, STATE_LOG_EVERY_MS);
          limited.error("the log does not have what the ledger's position promises", { part: "kafka", ...alert });
          this.#handlers.alert(alert);
        },
        onReading: (partitions) => {
          onReading();
          log.debug("reading the log", { part: "kafka", partitions });
          this.#setUp(true, null);
        },
      },
      { sessionMs: this.#sessionMs, heartbeatMs: Math.floor(this.#sessionMs / HEARTBEATS_A_SESSION) },
    );
  }

  #setUp(isUp: boolean, reason: unknown): void {
    if (this.#isUp === isUp && reason === null) return;
    const limited = log.limited(`log reader ${isUp ? "up" : "down"}`, STATE_LOG_EVERY_MS);
    const fields = { part: "kafka", topic: logTopic(this.#settings.prefix) };
    if (isUp) limited.info("the log is being read", fields);
    else limited.warn("the log cannot be read", { ...fields, reason: reasonOf(reason) });
    if (this.#isUp === isUp) return;
    this.#isUp = isUp;
    this.#handlers.onState?.(isUp);
  }
}
