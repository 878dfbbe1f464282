import type { MessagePort, Transferable } from "node:worker_threads";
import type { Settings } from "../config.ts";
import { StartError } from "../errors.ts";
import { TEND_MS, TEND_SOON_MS, TEND_WORK_MS, TRIM_EVERY_MS } from "../limits.ts";
import type { Files } from "../local/files.ts";
import type { DataLock } from "../local/lock.ts";
import { type LogHead, trimLog } from "../local/log.ts";
import type { Metric } from "../model.ts";
import { LedgerUnavailable } from "../ports/ledger.ts";
import { Flusher, type FlushReport } from "../tallies/flusher.ts";
import { Leaving } from "../tallies/leaving.ts";
import type { CounterTable } from "../tallies/table.ts";
import { log } from "../telemetry/log.ts";
import type { Reading } from "../telemetry/prometheus.ts";
import type { ClusterShare } from "./attach.ts";
import { clusterFilesOf } from "./files.ts";
import { Freshness, type FreshnessShare } from "./freshness.ts";
import { LoadLocks } from "./load-locks.ts";
import { LOG_THREAD } from "./log-data.ts";
import type { LogLink } from "./log-link.ts";
import { ensureMetrics } from "./mysql/open-ledger.ts";
import { NOTE_FRAME_BYTES } from "./note-frames.ts";
import type { ProjectorLink } from "./projector-link.ts";
import { readRemembered, writeRemembered } from "./remembered.ts";
import type { Part, StoreStates } from "./store-states.ts";
import { storesOf } from "./stores.ts";

export interface NodeEvents {
  /** What `parts` says has changed. */
  changed(): void;
  /** A thread without which nothing is safe has ended: the process must end too. */
  broken(error: unknown): void;
  /** Aborted when the process is to stop, also before it has started: nobody waits for stores any longer then. */
  stopping?: AbortSignal;
}

/** What start.ts has started. */
export interface NodeParts {
  settings: Settings;
  lock: DataLock;
  metrics: Metric[];
  partitions: number;
  head: LogHead;
  applied: LogHead;
  table: CounterTable;
  freshness: FreshnessShare;
  link: LogLink;
  projector: ProjectorLink | null;
  stores: StoreStates;
  source: string;
  events: NodeEvents;
}

/** Workers come after main and the log thread in the table's numbers. */
const FIRST_WORKER_THREAD = LOG_THREAD + 1;

/**
 * Main's side of a cluster's node: what it looks after while requests come, and the order in which it stops (start.ts has
 * that of the start).
 *
 * Stop: the workers are gone already → last flush → the log thread, which waits a moment until Kafka has the outbox → the
 * projector → the counter file says that it owes nothing → lock. What Kafka could not take stays in the outbox.
 */
export class ClusterNode {
  metrics: Metric[];
  readonly #parts: NodeParts;
  readonly #files: Files;
  readonly #table: CounterTable;
  readonly #freshness: Freshness;
  readonly #flusher: Flusher;
  readonly #leaving: Leaving;
  readonly #loadLocks = LoadLocks.allocate();
  readonly #stores: StoreStates;
  #lastFlush: FlushReport = { counters: 0, ms: 0 };
  #flushes = { done: 0, failed: 0, counters: 0 };
  #trouble: { since: Date; detail: string } | null = null;
  #flushTimer: ReturnType<typeof setTimeout> | undefined;
  #tendTimer: ReturnType<typeof setTimeout> | undefined;
  #pressed = false;
  #trimAtMs = 0;
  #stopping = false;

  constructor(parts: NodeParts) {
    this.#parts = parts;
    this.metrics = parts.metrics;
    this.#stores = parts.stores;
    this.#files = clusterFilesOf(parts.settings.data);
    this.#table = parts.table;
    this.#freshness = new Freshness(parts.freshness);
    this.#flusher = new Flusher({
      table: parts.table,
      append: (frame) => parts.link.append(frame),
      source: parts.source,
      partitions: parts.partitions,
      bytesMax: NOTE_FRAME_BYTES,
    });
    this.#leaving = new Leaving(parts.table, {
      logHead: () => parts.head.position,
      applied: () => parts.applied.position,
    });
    this.#table.notedPosition = parts.head.position;
    this.#planFlush();
    this.#tend();
  }

  /** What worker `index` needs, with its own way to the log thread, and what of it is handed over rather than copied. */
  join(index: number): { share: ClusterShare; transfer: Transferable[] } {
    const { settings, partitions, freshness, link } = this.#parts;
    const thread = FIRST_WORKER_THREAD + index;
    const port: MessagePort = link.join(thread);
    const table = this.#table.share();
    return {
      share: {
        deployment: "cluster",
        settings,
        partitions,
        table,
        freshness,
        loadLocks: this.#loadLocks,
        thread,
        log: port,
      },
      transfer: [port],
    };
  }

  /** Worker `index` has ended, however it did. What it added and did not mark as dirty is looked for. */
  left(index: number): void {
    const thread = FIRST_WORKER_THREAD + index;
    this.#parts.link.left(thread);
    const half = this.#table.threadGone(thread);
    if (half >= 0) this.#freshness.forget(half);
    this.#table.markAllDirty();
  }

  /** Somebody waits for room in the table, or for a flush. */
  press(): void {
    if (this.#pressed) return;
    this.#pressed = true;
    void this.flush();
    this.#tend();
  }

  /** Metrics that the settings have now; rejects with StartError where a kind contradicts stored data. */
  async configure(settings: Settings): Promise<Metric[]> {
    this.metrics = await ensureMetrics(storesOf(settings).mysqlUrl, settings.metrics).catch((error) => {
      throw error instanceof LedgerUnavailable ? new StartError(`${error.message}; send SIGHUP again later`) : error;
    });
    const remembered = readRemembered(settings.data);
    if (remembered) writeRemembered(settings.data, { ...remembered, metrics: this.metrics });
    return this.metrics;
  }

  /** Everything counted so far goes into the outbox. Never rejects: what the disk refuses stays, and is tried again. */
  async flush(): Promise<void> {
    const head = this.#parts.head.position;
    try {
      this.#lastFlush = await this.#flusher.flush(Date.now() - this.#parts.settings.flushMs);
      this.#table.notedPosition = Math.max(this.#table.notedPosition, head);
      this.#flushes.done++;
      this.#flushes.counters += this.#lastFlush.counters;
    } catch (error) {
      this.#flushes.failed++;
      log.limited("flush", 10_000).error("counts cannot be flushed to the outbox; they stay in memory", { error });
    }
  }

  onDisk(detail: string | null): void {
    if (detail === null) log.info("the outbox can be written again");
    else log.error("the outbox cannot be written: writes are refused until there is room", { detail });
    this.#trouble = detail === null ? null : { since: new Date(), detail };
    this.#parts.events.changed();
  }

  /** Parts that can be down on their own, for /readyz. */
  parts(): Record<string, Part> {
    const trouble = this.#trouble;
    return {
      outbox: trouble
        ? { status: "down", since: trouble.since.toISOString(), detail: trouble.detail }
        : { status: "up" },
      ...this.#stores.parts(),
    };
  }

  /** Whether nothing can be made durable. */
  get isUnable(): boolean {
    return this.#trouble !== null;
  }

  readings(): Reading[] {
    const { head, applied, projector } = this.#parts;
    const table = this.#table.stats();
    const gauge = (name: string, help: string, value: number): Reading => ({ name, help, value });
    const counter = (name: string, help: string, value: number): Reading => ({ name, help, value, type: "counter" });
    return [
      gauge("tally_counters", "Counters in memory", table.counters),
      gauge("tally_counters_max", "Counters that memory may hold", table.countersMax),
      gauge("tally_counters_bytes", "Space that the counter file takes on the disk", table.bytes),
      gauge("tally_outbox_bytes", "What the ledger does not have yet of this node", head.position - applied.position),
      ...this.#stores.readings(),
      gauge("tally_flush_duration_seconds", "How long the last flush took", this.#lastFlush.ms / 1000),
      counter("tally_flushes_total", "Flushes of the counter table into the outbox", this.#flushes.done),
      counter("tally_flush_failures_total", "Flushes that the disk refused", this.#flushes.failed),
      counter("tally_flushed_counters_total", "Counters flushed", this.#flushes.counters),
      ...(projector?.readings() ?? []),
    ];
  }

  /** Everything counted is in Kafka, or (while it is away) in the outbox, from where the next start takes it. */
  async stop(): Promise<void> {
    this.#stopping = true;
    clearTimeout(this.#flushTimer);
    clearTimeout(this.#tendTimer);
    this.#table.markAllDirty();
    const failed = this.#flushes.failed;
    await this.flush();
    await this.#parts.link.stop();
    await this.#parts.projector?.stop();
    if (this.#flushes.failed === failed) this.#table.closeClean();
    else this.#table.close();
    this.#parts.lock.release();
  }

  /** Ticks fall on the minute's edge, so that what a note holds was counted in one minute. */
  #planFlush(): void {
    if (this.#stopping) return;
    const { flushMs } = this.#parts.settings;
    const intoMinute = Date.now() % 60_000;
    const wait = Math.min(flushMs - (intoMinute % flushMs), 60_000 - intoMinute);
    this.#flushTimer = setTimeout(() => {
      void this.flush().then(() => this.#planFlush());
    }, wait);
  }

  /** Room in the table and files of the outbox: a little of each. */
  #tend(): void {
    clearTimeout(this.#tendTimer);
    if (this.#stopping) return;
    const until = performance.now() + TEND_WORK_MS;
    let more = true;
    let hasFailed = false;
    try {
      while (more && performance.now() < until) {
        const moreSpace = this.#table.provision();
        more = this.#leaving.step(performance.now()) || moreSpace;
      }
      this.#trim();
    } catch (error) {
      hasFailed = true;
      log.limited("tend", 10_000).error("the data directory cannot be written", { error });
    }
    const { space, room } = this.#table.wants();
    this.#pressed = this.#pressed && (space || room) && !hasFailed;
    this.#tendTimer = setTimeout(() => this.#tend(), (more || room || space) && !hasFailed ? TEND_SOON_MS : TEND_MS);
  }

  #trim(): void {
    const now = performance.now();
    if (now < this.#trimAtMs) return;
    this.#trimAtMs = now + TRIM_EVERY_MS;
    trimLog(this.#files.log, Math.min(this.#parts.applied.position, this.#table.notedPosition));
  }
}
