import { MessageChannel, type MessagePort, type Transferable } from "node:worker_threads";
import type { Settings } from "../config.ts";
import { SketchBoard } from "../distinct/board.ts";
import { StartError } from "../errors.ts";
import type { Files } from "../local/files.ts";
import { Keeper } from "../local/keeper.ts";
import type { DataLock } from "../local/lock.ts";
import type { LogHead } from "../local/log.ts";
import type { LogDisk } from "../local/log-disk.ts";
import { sketchReadings } from "../local/sketch-readings.ts";
import type { Metric } from "../model.ts";
import { LedgerUnavailable } from "../ports/ledger.ts";
import type { NodePart } from "../ports/node.ts";
import { Flusher } from "../tallies/flusher.ts";
import { Leaving } from "../tallies/leaving.ts";
import type { CounterTable } from "../tallies/table.ts";
import type { Reading } from "../telemetry/prometheus.ts";
import type { LogLag } from "../telemetry/usage.ts";
import type { NodeVisitors } from "../visitors/visitors.ts";
import type { Webhooks } from "../webhooks/webhooks.ts";
import type { Agreed } from "./agreed.ts";
import type { ClusterShare } from "./attach.ts";
import { clusterFilesOf } from "./files.ts";
import { Freshness, type FreshnessShare } from "./freshness.ts";
import { JobLog } from "./job-log.ts";
import { LoadLocks } from "./load-locks.ts";
import { LOG_THREAD } from "./log-data.ts";
import type { LogLink } from "./log-link.ts";
import { ensureNumbers } from "./mysql/open-ledger.ts";
import { NOTE_FRAME_BYTES } from "./note-frames.ts";
import type { ProjectorLink } from "./projector-link.ts";
import type { RankerLink } from "./ranker-link.ts";
import { writeRemembered } from "./remembered.ts";
import type { StoreStates } from "./store-states.ts";
import { openWebhooks, storesOf } from "./stores.ts";

/** What start.ts has started. */
export interface NodeParts {
  settings: Settings;
  lock: DataLock;
  metrics: Metric[];
  agreed: Agreed;
  head: LogHead;
  applied: LogHead;
  table: CounterTable;
  visitors: NodeVisitors;
  freshness: FreshnessShare;
  sketches: SharedArrayBuffer;
  mysqlAway: SharedArrayBuffer;
  link: LogLink;
  projector: ProjectorLink | null;
  ranker: RankerLink;
  stores: StoreStates;
  disk: LogDisk;
  source: string;
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
  readonly #keeper: Keeper;
  readonly #jobs: JobLog;
  readonly #loadLocks = LoadLocks.allocate();
  readonly #stores: StoreStates;
  readonly #webhooks: Webhooks | null;

  constructor(parts: NodeParts) {
    this.#parts = parts;
    this.metrics = parts.metrics;
    this.#stores = parts.stores;
    this.#files = clusterFilesOf(parts.settings.data);
    this.#table = parts.table;
    this.#freshness = new Freshness(parts.freshness);
    const append = (frame: Uint8Array) => parts.link.append(frame);
    const { table, source } = parts;
    const { partitions } = parts.agreed;
    const flusher = new Flusher({ table, append, source, partitions, bytesMax: NOTE_FRAME_BYTES });
    this.#jobs = new JobLog({ table, flusher, append, source });
    this.#keeper = new Keeper({
      table: parts.table,
      flusher,
      leaving: new Leaving(parts.table, {
        logHead: () => parts.head.position,
        applied: () => parts.applied.position,
      }),
      head: parts.head,
      logFolder: this.#files.log,
      flushMs: parts.settings.flushMs,
      kept: () => parts.applied.position,
      tended: () => parts.visitors.tend(this.metrics),
    });
    this.#keeper.start();
    this.#webhooks = openWebhooks(parts.settings);
  }

  /** What worker `index` needs, with its own way to the log thread, and what of it is handed over rather than copied. */
  join(index: number): { share: ClusterShare; transfer: Transferable[] } {
    const { settings, agreed, freshness, sketches, mysqlAway, link } = this.#parts;
    const thread = FIRST_WORKER_THREAD + index;
    const port: MessagePort = link.join(thread);
    const { port1, port2: admin } = new MessageChannel();
    this.#jobs.serve(thread, port1);
    const table = this.#table.share();
    return {
      share: {
        deployment: "cluster",
        settings,
        partitions: agreed.partitions,
        table,
        visitors: this.#parts.visitors.claims.share(),
        freshness,
        sketches,
        mysqlAway,
        loadLocks: this.#loadLocks,
        thread,
        log: port,
        admin,
      },
      transfer: [port, admin],
    };
  }

  /** Worker `index` has ended, however it did. What it added and did not mark as dirty is looked for. */
  left(index: number): void {
    const thread = FIRST_WORKER_THREAD + index;
    this.#parts.link.left(thread);
    this.#jobs.left(thread);
    this.#parts.visitors.claims.threadGone(thread);
    const half = this.#table.threadGone(thread);
    if (half >= 0) this.#freshness.forget(half);
    this.#table.markAllDirty();
  }

  /** Somebody waits for room in the table, or for a flush. */
  press(): void {
    this.#keeper.press();
  }

  /** Metrics that the settings have now; rejects with StartError where a kind contradicts stored data. */
  async configure(settings: Settings): Promise<Metric[]> {
    const numbered = await ensureNumbers(storesOf(settings).mysqlUrl, settings.metrics).catch((error) => {
      throw error instanceof LedgerUnavailable ? new StartError(`${error.message}; send SIGHUP again later`) : error;
    });
    const { incarnation, stored, metrics } = numbered;
    const agreed = { incarnation, metrics: stored, partitions: this.#parts.agreed.partitions };
    writeRemembered(settings.data, agreed);
    this.#parts.link.agreed(agreed);
    this.metrics = metrics;
    return this.metrics;
  }

  /** Parts that can be down on their own, for /readyz. */
  parts(): Record<string, NodePart> {
    return { outbox: this.#parts.disk.part, ...this.#stores.parts() };
  }

  /** Whether nothing can be made durable. */
  get isUnable(): boolean {
    return this.#parts.disk.isFull;
  }

  /** Of what this node has written, and of what its projector reads. */
  lag(): LogLag {
    const { head, applied, projector } = this.#parts;
    const own = { lagBytes: head.position - applied.position };
    if (projector === null) return own;
    const { lag, lagMs } = projector.progress;
    return { ...own, lagMessages: lag, lagSeconds: lagMs / 1000 };
  }

  readings(): Reading[] {
    const { head, applied, projector } = this.#parts;
    const gauge = (name: string, help: string, value: number): Reading => ({ name, help, value });
    return [
      ...this.#keeper.readings(),
      ...this.#parts.visitors.readings(),
      ...sketchReadings(new SketchBoard(this.#parts.sketches)),
      gauge("tally_outbox_bytes", "What the ledger does not have yet of this node", head.position - applied.position),
      ...this.#stores.readings(),
      ...(projector?.readings() ?? []),
      ...(this.#webhooks?.readings() ?? []),
    ];
  }

  /** Everything counted is in Kafka, or (while it is away) in the outbox, from where the next start takes it. */
  async stop(): Promise<void> {
    await this.#webhooks?.stop();
    this.#jobs.stop();
    const isLogged = await this.#keeper.stop();
    await this.#parts.link.stop();
    await this.#parts.ranker.stop();
    await this.#parts.projector?.stop();
    if (isLogged) this.#table.closeClean();
    else this.#table.close();
    this.#parts.lock.release();
  }
}
