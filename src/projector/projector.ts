import { isOutOfFiles } from "../errors.ts";
import { fault, wallMs } from "../lib/fault.ts";
import { type Applied, type Batch, LedgerUnavailable, type LedgerWriter, type Loss } from "../ports/ledger.ts";
import type { LogReader, Position } from "../ports/log.ts";
import { readFrame } from "../records.ts";
import { BatchBuilder } from "./batch.ts";
import type { ProjectorControl } from "./control.ts";
import { Lag } from "./lag.ts";

/** Batches begin this far apart unless someone waits: a row costs less the more of them are sorted into one transaction. */
const PACE_MS = 1_000;
const BATCH_RECORDS_MAX = 120_000;
const BATCH_BYTES_MAX = 16 * 1024 * 1024;
/** How much of the log is read and decoded at once. */
const READ_BYTES = 1024 * 1024;
/** The log's head is looked at this often while there is nothing to do. */
const IDLE_MS = 50;
/** The ledger is synced this often, so that the log can be cut. */
const SYNC_MS = 5_000;
const RETRY_MS_MIN = 100;
const RETRY_MS_MAX = 5_000;
/** Further behind than this the projector takes its full share of the processors. */
const HURRY_MS = 1_500;

/** A ledger that answers at once: what an embedded one is. */
export interface SyncLedgerWriter extends LedgerWriter {
  apply(batch: Batch): Applied;
  makeDurable(): Position;
  tidy(nowMs: number, isBusy: boolean): boolean;
}

export interface ProjectorEvents {
  applied(batch: { records: number; registers: number; counts: number; ms: number }): void;
  /** The ledger has all, and nothing is left to tidy: said again and again. */
  idle(): void;
  lost(loss: Loss): void;
  /** The ledger could not be written; it is tried again in `retryMs`. */
  failing(error: Error, retryMs: number): void;
  recovered(): void;
  /** Whether it is so far behind that it should no longer stand back for other threads. */
  hurry(is: boolean): void;
}

/**
 * Brings the log into the ledger, batch by batch, in a thread of its own that sleeps on a futex.
 *
 * A batch is decided against the ledger (by numbers), applied with its position in one transaction, and only then told to
 * the others. Wherever it dies, the next one reads on from the ledger's position, and what it finds there again is skipped
 * by its number.
 */
export class Projector {
  #log: LogReader;
  #ledger: SyncLedgerWriter;
  #control: ProjectorControl;
  #events: ProjectorEvents;
  #now: () => number;
  #recordsMax: number;
  #lag = new Lag();
  #hurries = false;
  #failing = false;
  #retryMs = RETRY_MS_MIN;
  /** The last batch was cut by its bounds: there may be more. */
  #wasFull = false;

  constructor(
    parts: { log: LogReader; ledger: SyncLedgerWriter; control: ProjectorControl },
    events: ProjectorEvents,
    options: { recordsMax?: number; now?: () => number } = {},
  ) {
    this.#log = parts.log;
    this.#ledger = parts.ledger;
    this.#control = parts.control;
    this.#events = events;
    this.#now = options.now ?? wallMs;
    this.#recordsMax = options.recordsMax ?? BATCH_RECORDS_MAX;
    const position = this.#ledger.position();
    if (this.#control.head < position) {
      throw new Error(
        `the log ends at ${this.#control.head}, but the ledger has it up to ${position}: they do not belong together`,
      );
    }
    this.#control.applied = position;
  }

  /** Until `control.stop`. Blocks its thread. Throws what nobody can mend from here: a log that cannot be read, a bug. */
  run(): void {
    let nextAt = 0;
    let syncAt = 0;
    for (;;) {
      const rung = this.#control.rung;
      const now = this.#now();
      const position = this.#ledger.position();
      const stopAt = this.#control.stopAt;
      if (stopAt !== null && position >= stopAt) break;
      if (now >= syncAt || now < syncAt - SYNC_MS) {
        this.#sync();
        syncAt = now + SYNC_MS;
      }
      const waiting = this.#control.head > position;
      this.#watch(now, position);
      const hurried = !this.#failing && (stopAt !== null || this.#control.isUrgent);
      if (waiting && (hurried || now >= nextAt || now < nextAt - RETRY_MS_MAX)) {
        this.#control.calm();
        if (this.#try()) this.#recover();
        this.#tidy(now, true);
        nextAt = this.#failing ? now + this.#retryMs : this.#wasFull ? 0 : now + PACE_MS;
        continue;
      }
      if (!waiting) this.#control.calm();
      if (this.#tidy(now, waiting)) continue;
      if (!waiting) this.#events.idle();
      this.#control.sleep(rung, waiting ? Math.min(nextAt - now, IDLE_MS) : IDLE_MS);
    }
    this.#sync();
  }

  /** One batch, if there is anything in the log; how many records it had. Throws LedgerUnavailable with nothing changed. */
  step(): number {
    const started = performance.now();
    const builder = new BatchBuilder(this.#ledger);
    const from = this.#ledger.position();
    let at = from;
    this.#wasFull = false;
    while (!this.#wasFull) {
      const frames = this.#log.read(at, READ_BYTES);
      if (frames.length === 0) break;
      for (const { bytes, next } of frames) {
        builder.add(readFrame(bytes), next);
        at = next;
        this.#wasFull = builder.records >= this.#recordsMax || at - from >= BATCH_BYTES_MAX || builder.mustEnd;
        if (this.#wasFull) break;
      }
    }
    if (at === from) return 0;
    const batch = builder.finish(this.#now());
    const applied = this.#ledger.apply(batch);
    fault("projector.committed");
    this.#control.applied = batch.position;
    fault("projector.told");
    for (const loss of batch.losses) this.#events.lost(loss);
    if (batch.losses.length > 0) this.#control.addLosses(batch.losses.length);
    this.#events.applied({ records: batch.records, ...applied, ms: performance.now() - started });
    return batch.records;
  }

  /** Whether there is more to tidy. What fails here can wait; where it is the disk, the next batch will say so. */
  #tidy(now: number, isBusy: boolean): boolean {
    try {
      return !this.#failing && this.#ledger.tidy(now, isBusy);
    } catch (error) {
      if (!(error instanceof LedgerUnavailable)) throw error;
      this.#events.failing(error, IDLE_MS);
      return false;
    }
  }

  #sync(): void {
    this.#control.durable = this.#ledger.makeDurable();
  }

  /** One batch. False: the ledger cannot be written now; nothing is skipped, the same is tried again later. */
  #try(): boolean {
    try {
      this.step();
    } catch (error) {
      if (!(error instanceof LedgerUnavailable || isOutOfFiles(error))) throw error;
      this.#retryMs = this.#failing ? Math.min(this.#retryMs * 2, RETRY_MS_MAX) : RETRY_MS_MIN;
      this.#failing = true;
      this.#control.failing = true;
      this.#events.failing(error, this.#retryMs);
      return false;
    }
    return true;
  }

  #recover(): void {
    if (!this.#failing) return;
    this.#failing = false;
    this.#control.failing = false;
    this.#events.recovered();
  }

  #watch(now: number, position: number): void {
    this.#lag.saw(now, this.#control.head);
    const lagMs = this.#lag.at(now, position);
    this.#control.lagMs = lagMs;
    const hurries = lagMs > HURRY_MS;
    if (hurries === this.#hurries) return;
    this.#hurries = hurries;
    this.#events.hurry(hurries);
  }
}
