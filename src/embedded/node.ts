import { MessageChannel, type Transferable } from "node:worker_threads";
import type { Settings } from "../config.ts";
import { SketchBoard } from "../distinct/board.ts";
import { fault } from "../lib/fault.ts";
import { SETTLE_MS_MAX } from "../limits.ts";
import { type Files, filesOf } from "../local/files.ts";
import { Keeper } from "../local/keeper.ts";
import type { DataLock } from "../local/lock.ts";
import type { LogHead } from "../local/log.ts";
import type { LogDisk } from "../local/log-disk.ts";
import { sketchReadings } from "../local/sketch-readings.ts";
import type { Metric } from "../model.ts";
import type { NodeEvents, NodePart } from "../ports/node.ts";
import type { Say, Verified } from "../ports/verified.ts";
import { Flusher } from "../tallies/flusher.ts";
import { Leaving } from "../tallies/leaving.ts";
import type { CounterTable } from "../tallies/table.ts";
import { log } from "../telemetry/log.ts";
import type { Reading } from "../telemetry/prometheus.ts";
import type { LogLag } from "../telemetry/usage.ts";
import type { NodeVisitors } from "../visitors/visitors.ts";
import { Webhooks } from "../webhooks/webhooks.ts";
import type { EmbeddedShare, NodeShare } from "./attach.ts";
import { serveBeside } from "./beside.ts";
import { Imports } from "./imports.ts";
import { Jobs } from "./jobs.ts";
import { SqliteMilestoneBox } from "./milestone-box.ts";
import { ensureMetricsBeside } from "./open-ledger.ts";
import { Overlay } from "./overlay.ts";
import type { ProjectorLink } from "./projector-link.ts";
import type { RankerLink } from "./ranker-link.ts";
import { SqliteLedgerReader } from "./reads.ts";
import { listenOnSocket, type SocketServer } from "./socket.ts";
import { TableCheck, verifyStores } from "./verify.ts";
import type { WriterLink } from "./writer-link.ts";
import { WRITER_THREAD } from "./writer-messages.ts";

/** What start.ts has started. */
export interface NodeParts {
  settings: Settings;
  lock: DataLock;
  metrics: Metric[];
  share: NodeShare;
  head: LogHead;
  table: CounterTable;
  visitors: NodeVisitors;
  projector: ProjectorLink;
  ranker: RankerLink;
  writer: WriterLink;
  source: string;
  events: NodeEvents;
  disk: LogDisk;
}

/** Workers come after main and the writer in the table's numbers. */
const FIRST_WORKER_THREAD = WRITER_THREAD + 1;

/**
 * Main's side of an embedded node: what it looks after while requests come, and the order in which it stops (start.ts has
 * that of the start).
 *
 * Stop: the workers are gone already → last flush → writer → ranker → projector up to the log's end → the counter file says that it
 * owes nothing → lock.
 */
export class EmbeddedNode {
  metrics: Metric[];
  readonly imports: Imports;
  readonly #lock: DataLock;
  readonly #files: Files;
  readonly #share: NodeShare;
  readonly #head: LogHead;
  readonly #table: CounterTable;
  readonly #visitors: NodeVisitors;
  readonly #projector: ProjectorLink;
  readonly #ranker: RankerLink;
  readonly #overlay: Overlay;
  readonly #writer: WriterLink;
  readonly #keeper: Keeper;
  readonly #jobs: Jobs;
  readonly #events: NodeEvents;
  readonly #disk: LogDisk;
  readonly #socket: SocketServer | null;
  readonly #webhooks: Webhooks | null;
  /** Those that may still add. */
  readonly #workers = new Set<number>();
  /** Whether there was a worker: other commands are a node for a moment, and may know nothing of the server's settings. */
  #isServing = false;

  constructor(parts: NodeParts) {
    this.#lock = parts.lock;
    this.metrics = parts.metrics;
    this.#files = filesOf(parts.settings.data);
    this.#share = parts.share;
    this.#head = parts.head;
    this.#table = parts.table;
    this.#visitors = parts.visitors;
    this.#projector = parts.projector;
    this.#ranker = parts.ranker;
    this.#overlay = new Overlay(parts.share.overlay);
    this.#writer = parts.writer;
    this.#events = parts.events;
    this.#disk = parts.disk;
    const append = (frame: Uint8Array) => this.#writer.append(frame);
    const flusher = new Flusher({ table: parts.table, append, source: parts.source });
    this.#jobs = new Jobs({
      table: parts.table,
      flusher,
      overlay: this.#overlay,
      ledger: new SqliteLedgerReader(parts.share.ledgerPath, parts.share.filters),
      control: parts.projector.control,
      ask: (job) => this.#writer.ask(job),
      metrics: () => this.metrics,
    });
    this.#keeper = new Keeper({
      table: parts.table,
      flusher,
      leaving: new Leaving(parts.table, {
        logHead: () => this.#head.position,
        applied: () => this.#projector.control.applied,
      }),
      head: parts.head,
      logFolder: this.#files.log,
      flushMs: parts.settings.flushMs,
      kept: () => this.#projector.control.durable,
      // So that a ranking is not two intervals behind: the projector takes the notes at once.
      flushed: () => this.#projector.control.urge(),
      tended: (room) => this.#tended(room),
    });
    this.imports = new Imports({
      writer: parts.writer,
      control: parts.projector.control,
      metrics: () => this.metrics,
      types: parts.settings.types,
      press: () => this.press(),
      settle: (timeoutMs) => this.settle(timeoutMs),
    });
    this.#socket = this.#listen();
    this.#keeper.start();
    const openBox = () => new SqliteMilestoneBox(parts.share.ledgerPath);
    this.#webhooks = Webhooks.open(parts.settings.webhooks, openBox);
  }

  /** What worker `index` needs, with its own way to the writer, and what of it is handed over rather than copied. */
  join(index: number): { share: EmbeddedShare; transfer: Transferable[] } {
    this.#isServing = true;
    this.#workers.add(index);
    const thread = FIRST_WORKER_THREAD + index;
    const way = this.#writer.join(thread);
    const { port1, port2: admin } = new MessageChannel();
    this.#jobs.serve(thread, port1);
    const rankings = this.#ranker.join();
    return {
      share: { deployment: "embedded", ...this.#share, thread, ...way, admin, rankings },
      transfer: [way.woken, admin, rankings],
    };
  }

  /** Worker `index` has ended, however it did. What it added and did not mark as dirty is looked for. */
  left(index: number): void {
    const thread = FIRST_WORKER_THREAD + index;
    this.#workers.delete(index);
    this.#writer.left(thread);
    this.#visitors.claims.threadGone(thread);
    this.#jobs.left(thread);
    const half = this.#table.threadGone(thread);
    if (half >= 0) throw new Error(`worker ${index} died while it changed the base of slot ${half}`);
    this.#table.markAllDirty();
  }

  /** Somebody waits for room in the table, or for a flush. */
  press(): void {
    if (this.#keeper.press()) this.#projector.control.urge();
  }

  /** Metrics that the settings have now; throws StartError where a kind contradicts stored data, or nothing can be stored. */
  async configure(settings: Settings): Promise<Metric[]> {
    this.metrics = await ensureMetricsBeside(this.#files.ledger, settings.metrics);
    return this.metrics;
  }

  /** Flushes and waits until the ledger has it all: true if it came that far in time. */
  async settle(timeoutMs: number): Promise<boolean> {
    await this.#keeper.flush();
    return this.#projector.control.untilApplied(this.#head.position, timeoutMs);
  }

  /** Parts that can be down on their own, for /readyz. */
  parts(): Record<string, NodePart> {
    return { log: this.#disk.part, ledger: this.#projector.part() };
  }

  /** Whether nothing can be made durable. */
  get isUnable(): boolean {
    return this.#disk.isFull;
  }

  lag(): LogLag {
    const { head, applied, lagMs } = this.#projector.control;
    return { lagBytes: head - applied, lagSeconds: lagMs / 1000 };
  }

  readings(): Reading[] {
    const { control } = this.#projector;
    const gauge = (name: string, help: string, value: number): Reading => ({ name, help, value });
    const counter = (name: string, help: string, value: number): Reading => ({ name, help, value, type: "counter" });
    return [
      ...this.#keeper.readings(),
      ...this.#visitors.readings(),
      ...sketchReadings(new SketchBoard(this.#share.sketches)),
      ...(this.#webhooks?.readings() ?? []),
      gauge("tally_overlay_records", "Relations in the log and not yet in the ledger", this.#overlay.records),
      gauge("tally_log_head", "Where the log ends, in bytes since it began", control.head),
      gauge("tally_log_applied", "Up to where the ledger has the log, in bytes since it began", control.applied),
      gauge("tally_projector_lag_seconds", "How long the oldest record waits for the ledger", control.lagMs / 1000),
      counter("tally_projector_losses_total", "Gaps found in the log", control.losses),
    ];
  }

  /** Recounts everything and compares every copy, saying each difference; with `repair` also mends it. */
  async verify(repair: boolean, say: Say): Promise<Verified> {
    await this.settle(SETTLE_MS_MAX);
    const { ledgerPath, filters } = this.#share;
    const data = { ledgerPath, filters, logFolder: this.#files.log, logHead: this.#head.share, repair };
    const stores = await verifyStores(data, say);
    const ledger = new SqliteLedgerReader(ledgerPath, filters);
    try {
      if (stores.mended > 0) this.#ranker.beginAnew();
      const parts = { table: this.#table, overlay: this.#overlay, ledger, metrics: this.metrics };
      const settle = () => this.settle(SETTLE_MS_MAX);
      const table = await new TableCheck({ ...parts, settle, jobs: this.#jobs }).run(repair, say);
      return {
        differences: stores.differences + table.differences,
        mended: stores.mended + table.mended,
        counters: table.counters,
        registers: stores.registers,
        frames: stores.frames,
      };
    } finally {
      ledger.close();
    }
  }

  /** Everything counted is in the ledger, or (false) in the log at least, from where the next start takes it. */
  async stop(): Promise<void> {
    this.#socket?.close();
    this.#jobs.stop();
    await this.#webhooks?.stop();
    fault("stop.flush");
    const isLogged = await this.#keeper.stop();
    fault("stop.flushed");
    await this.#writer.stop();
    fault("stop.written");
    await this.#ranker.stop();
    await this.#projector.stop(this.#head.position);
    fault("stop.projected");
    // What one adds that did not end in time is found by the next start.
    if (isLogged && this.#workers.size === 0) this.#table.closeClean();
    else this.#table.close();
    fault("stop.closed");
    this.#lock.release();
  }

  /** The other commands come in here. Without it the server runs, and no `tally verify` beside it. */
  #listen(): SocketServer | null {
    try {
      return listenOnSocket(this.#files.socket, async (path, say, body) => {
        if (path !== "/verify" && path !== "/repair") return say(await serveBeside(this, path, body));
        say({ done: await this.verify(path === "/repair", (difference, isMended) => say({ difference, isMended })) });
      });
    } catch (error) {
      log.warn("no socket in the data directory: other commands cannot reach this server", { error });
      return null;
    }
  }

  #tended(room: boolean): void {
    // By the settings it is decided which salts have had their time.
    if (this.#isServing) this.#visitors.tend(this.metrics);
    // The ledger's state is only seen by looking.
    this.#events.changed();
    if (room) this.#projector.control.urge();
  }
}
