import { wallMs } from "../lib/fault.ts";
import { TEND_MS, TEND_SOON_MS, TEND_WORK_MS, TRIM_EVERY_MS } from "../limits.ts";
import type { Position } from "../ports/log.ts";
import type { Flusher, FlushReport } from "../tallies/flusher.ts";
import type { Leaving } from "../tallies/leaving.ts";
import { NewcomersKeeper } from "../tallies/newcomers.ts";
import type { CounterTable } from "../tallies/table.ts";
import { log } from "../telemetry/log.ts";
import type { Reading } from "../telemetry/prometheus.ts";
import { type LogHead, trimLog } from "./log.ts";

interface KeeperParts {
  table: CounterTable;
  flusher: Flusher;
  leaving: Leaving;
  head: LogHead;
  logFolder: string;
  flushMs: number;
  /** In front of it the ledger has the log for good. */
  kept: () => Position;
  /** The log has what was counted. */
  flushed?(): void;
  /** Each time it has looked. `room`: somebody waits for counters to leave. */
  tended(room: boolean): void;
}

/** A flush of so many counters leaves tens of megabytes of frames behind, which the engine would let lie for long. */
const LARGE_FLUSH = 50_000;

/** What main does for the counter table and the log beside it, while requests come: flushes, makes room, trims. */
export class Keeper {
  readonly #parts: KeeperParts;
  readonly #table: CounterTable;
  #lastFlush: FlushReport = { counters: 0, ms: 0 };
  #flushes = { done: 0, failed: 0, counters: 0 };
  readonly #newcomers: NewcomersKeeper;
  #flushTimer: ReturnType<typeof setTimeout> | undefined;
  #tendTimer: ReturnType<typeof setTimeout> | undefined;
  #pressed = false;
  #trimAtMs = 0;
  #stopping = false;

  constructor(parts: KeeperParts) {
    this.#parts = parts;
    this.#table = parts.table;
    const { newcomers, threads } = parts.table;
    const positions = { logHead: () => parts.head.position, applied: parts.kept };
    this.#newcomers = new NewcomersKeeper(newcomers, threads, positions);
    this.#table.notedPosition = parts.head.position;
  }

  start(): void {
    this.#planFlush();
    this.#tend();
  }

  /** Somebody waits for room in the table, or for a flush. False: it is looked after already. */
  press(): boolean {
    if (this.#pressed) return false;
    this.#pressed = true;
    void this.flush();
    this.#tend();
    return true;
  }

  /** Everything counted so far goes into the log. Never rejects: what the log refuses stays, and is tried again. */
  async flush(): Promise<void> {
    const head = this.#parts.head.position;
    const flushed = this.#newcomers.flushing();
    try {
      this.#lastFlush = await this.#parts.flusher.flush(wallMs() - this.#parts.flushMs);
      // Notes behind this head, if there are any, are of earlier flushes, which are over.
      this.#table.notedPosition = Math.max(this.#table.notedPosition, head);
      flushed();
      this.#flushes.done++;
      this.#flushes.counters += this.#lastFlush.counters;
      if (this.#lastFlush.counters > 0) this.#parts.flushed?.();
      if (this.#lastFlush.counters > LARGE_FLUSH) Bun.gc(false);
    } catch (error) {
      this.#flushes.failed++;
      log.limited("flush", 10_000).error("counts cannot be flushed to the log; they stay in memory", { error });
    }
  }

  /** The last flush, once all who add are gone; whether the log took it. */
  async stop(): Promise<boolean> {
    this.#stopping = true;
    clearTimeout(this.#flushTimer);
    clearTimeout(this.#tendTimer);
    this.#table.markAllDirty();
    const failed = this.#flushes.failed;
    await this.flush();
    return this.#flushes.failed === failed;
  }

  readings(): Reading[] {
    const table = this.#table.stats();
    const gauge = (name: string, help: string, value: number): Reading => ({ name, help, value });
    const counter = (name: string, help: string, value: number): Reading => ({ name, help, value, type: "counter" });
    return [
      gauge("tally_counters", "Counters in memory", table.counters),
      gauge("tally_counters_max", "Counters that memory may hold", table.countersMax),
      gauge("tally_counters_bytes", "Space that the counter file takes on the disk", table.bytes),
      gauge("tally_flush_duration_seconds", "How long the last flush took", this.#lastFlush.ms / 1000),
      counter("tally_flushes_total", "Flushes of the counter table into the log", this.#flushes.done),
      counter("tally_flush_failures_total", "Flushes that the log refused", this.#flushes.failed),
      counter("tally_flushed_counters_total", "Counters flushed", this.#flushes.counters),
    ];
  }

  /** Ticks fall on the minute's edge, so that what a note holds was counted in one minute. */
  #planFlush(): void {
    if (this.#stopping) return;
    const { flushMs } = this.#parts;
    const intoMinute = wallMs() % 60_000;
    const wait = Math.min(flushMs - (intoMinute % flushMs), 60_000 - intoMinute);
    this.#flushTimer = setTimeout(() => {
      void this.flush().then(() => this.#planFlush());
    }, wait);
  }

  /** Room in the table and files of the log: a little of each. */
  #tend(): void {
    clearTimeout(this.#tendTimer);
    if (this.#stopping) return;
    const until = performance.now() + TEND_WORK_MS;
    let more = true;
    let hasFailed = false;
    try {
      while (more && performance.now() < until) {
        const moreSpace = this.#table.provision();
        more = this.#parts.leaving.step(performance.now()) || moreSpace;
      }
      this.#newcomers.step();
      this.#trim();
    } catch (error) {
      hasFailed = true;
      log.limited("tend", 10_000).error("the data directory cannot be written", { error });
    }
    const { space, room } = this.#table.wants();
    this.#pressed = this.#pressed && (space || room) && !hasFailed;
    this.#parts.tended(room);
    this.#tendTimer = setTimeout(() => this.#tend(), (more || room || space) && !hasFailed ? TEND_SOON_MS : TEND_MS);
  }

  #trim(): void {
    const now = performance.now();
    if (now < this.#trimAtMs) return;
    this.#trimAtMs = now + TRIM_EVERY_MS;
    trimLog(this.#parts.logFolder, Math.min(this.#parts.kept(), this.#table.notedPosition));
  }
}
