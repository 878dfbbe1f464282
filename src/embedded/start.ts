import { randomBytes } from "node:crypto";
import { type Time, timeOf } from "../arithmetic/stamp.ts";
import type { Settings } from "../config.ts";
import { SketchBoard } from "../distinct/board.ts";
import { EXIT, StartError } from "../errors.ts";
import { fault } from "../lib/fault.ts";
import { CATCH_UP_MS_MAX } from "../limits.ts";
import { type Files, filesOf } from "../local/files.ts";
import { inFolder, takeFolder } from "../local/folder.ts";
import { DataLock } from "../local/lock.ts";
import { LogHead } from "../local/log.ts";
import { LogDisk } from "../local/log-disk.ts";
import { recoverLog } from "../local/recovery.ts";
import type { Metric } from "../model.ts";
import type { ExportSource, ImportTarget } from "../ports/archive.ts";
import { KindContradiction } from "../ports/metric-numbers.ts";
import type { NodeEvents } from "../ports/node.ts";
import type { Say, Verified } from "../ports/verified.ts";
import { PastChanges } from "../tallies/past-changes.ts";
import { CounterTable } from "../tallies/table.ts";
import { log } from "../telemetry/log.ts";
import { openVisitors } from "../visitors/visitors.ts";
import { rulesOf } from "../webhooks/milestones.ts";
import type { NodeShare } from "./attach.ts";
import { exportEmbedded, importEmbedded } from "./beside.ts";
import type { FilterShare } from "./filters.ts";
import { EmbeddedNode } from "./node.ts";
import { changeKinds, ensureMetrics, isCounted, prepareLedger, shareLedger, storedMetrics } from "./open-ledger.ts";
import { openLog } from "./open-log.ts";
import { Overlay } from "./overlay.ts";
import { ProjectorLink } from "./projector-link.ts";
import { RankerLink } from "./ranker-link.ts";
import { SqliteLedgerReader } from "./reads.ts";
import { askSocket } from "./socket.ts";
import { WriterLink } from "./writer-link.ts";

/**
 * What a node is started for. Other commands than `serve` may know nothing of the server's settings, so no history is folded by
 * them. One that only reads takes metrics and kinds from the ledger and tells no webhook; what it writes is what the server's
 * next start would write first: what a killed one still owed.
 */
type Purpose = "serve" | "import" | "read";

/**
 * Each step stands on the one before: lock → schema → the log's end → what a killed run owed goes into the log → the
 * projector brings the ledger to the log's end → an empty counter table → the writer. So when the first request comes the
 * ledger has everything, nothing is on its way, and each counter is loaded from it when it is first touched.
 *
 * Throws StartError for all that the outside can mend. What was there before a refused start is there after it.
 */
export function startEmbedded(
  settings: Settings,
  events: NodeEvents,
  purpose: Purpose = "serve",
): Promise<EmbeddedNode> {
  return inFolder(settings.data, () =>
    start(settings, events, purpose).catch(async (error) => {
      if (!(error instanceof KindContradiction) || purpose !== "serve") throw error;
      await changeUncounted(settings, events, error);
      return start(settings, events, purpose);
    }),
  );
}

/**
 * A metric that was configured once and has never counted may become of another kind. The ledger alone does not say so: log
 * and counters of a killed run may hold its number. So a node that reads brings all of it into the ledger first, and stops.
 */
async function changeUncounted(
  settings: Settings,
  events: NodeEvents,
  contradiction: KindContradiction,
): Promise<void> {
  const { ledger } = filesOf(settings.data);
  const refuseCounted = () => {
    const counted = contradiction.metrics.filter(({ name }) => isCounted(ledger, name));
    if (counted.length > 0) throw new KindContradiction(counted);
  };
  refuseCounted();
  const node = await start(settings, events, "read");
  await node.stop();
  const lock = takeFolder(settings.data, "embedded", DataLock.takeOrRefuse);
  try {
    refuseCounted();
    changeKinds(ledger, contradiction.metrics);
  } finally {
    lock.release();
  }
  log.info("metrics that have never counted are of another kind now", { metrics: contradiction.metrics });
}

async function start(settings: Settings, events: NodeEvents, purpose: Purpose): Promise<EmbeddedNode> {
  const isReading = purpose === "read";
  const files = filesOf(settings.data);
  const lock = takeFolder(settings.data, "embedded", DataLock.takeOrRefuse);
  const metrics = openMetrics(files.ledger, settings, isReading, lock);
  const head = new LogHead();
  const filters = shareLedger(files.ledger);
  recover(files, head, filters);
  fault("start.recovered");
  const milestones = rulesOf(settings.webhooks, metrics);
  const projectorData = {
    logFolder: files.log,
    ledgerPath: files.ledger,
    filters,
    milestones,
    historyDays: purpose === "serve" ? settings.historyDays : Number.POSITIVE_INFINITY,
  };
  const projector = new ProjectorLink(projectorData, head.share, events.broken);
  await catchUp(projector, head);
  fault("start.caught-up");

  const source = randomBytes(8).toString("hex");
  const table = createTable(files.counters, settings.countersMax, source);
  const visitors = openVisitors(files.visitors);
  const share: NodeShare = {
    ledgerPath: files.ledger,
    filters,
    table: table.share(),
    overlay: Overlay.allocate(),
    visitors: visitors.claims.share(),
    sketches: SketchBoard.allocate(),
    past: PastChanges.allocate(),
    door: new SharedArrayBuffer(8),
  };
  const disk = new LogDisk("log", events.changed);
  const writer = await WriterLink.start(
    {
      logFolder: files.log,
      logHead: head.share,
      applied: projector.control.share.applied,
      node: share,
      source: `${source}r`,
      jobSource: `${source}j`,
      clock: highestTime(files.ledger, filters),
    },
    { disk: (trouble) => disk.tell(trouble), died: events.broken },
  );
  const { topCandidates: candidates, hotHalfLife } = settings;
  const rankerData = { ledgerPath: files.ledger, candidates, halfLifeS: hotHalfLife / 1000 };
  const ranker = new RankerLink(rankerData, events.broken);
  return new EmbeddedNode({
    settings: isReading ? { ...settings, webhooks: [] } : settings,
    lock,
    metrics,
    share,
    head,
    table,
    visitors,
    projector,
    ranker,
    writer,
    source,
    events,
    disk,
  });
}

/** `tally verify`: asks the server that uses the folder, or, where there is none, is one without requests for a moment. */
export async function verifyEmbedded(settings: Settings, repair: boolean, say: Say): Promise<Verified> {
  const lock = takeFolder(settings.data, "embedded", DataLock.take);
  if (lock === null) {
    for await (const line of askSocket(filesOf(settings.data).socket, repair ? "/repair" : "/verify")) {
      if (typeof line.difference === "string") say(line.difference, line.isMended === true);
      if (typeof line.error === "string")
        throw new StartError(`the server could not verify: ${line.error}`, EXIT.unavailable);
      if (line.done) return line.done as Verified;
    }
    throw new StartError("the server ended before it had verified everything", EXIT.unavailable);
  }
  lock.release();
  const broken = Promise.withResolvers<never>();
  const node = await startEmbedded(settings, { changed: () => undefined, broken: broken.reject }, "read");
  try {
    return await Promise.race([node.verify(repair, say), broken.promise]);
  } finally {
    await node.stop();
  }
}

/** For the commands that look at everything, or bring it in: beside a server, or in its place for a moment. */
export function archiveEmbedded(settings: Settings): {
  source(): Promise<ExportSource>;
  target(): Promise<ImportTarget>;
} {
  const events: NodeEvents = {
    changed: () => undefined,
    broken(error) {
      throw error;
    },
  };
  return {
    source: () => exportEmbedded(settings.data, () => startEmbedded(settings, events, "read")),
    target: () => importEmbedded(settings.data, () => startEmbedded(settings, events, "import")),
  };
}

/** The schema alone. A server that runs has brought it up to date, or (--no-migrate) must not have it changed under it. */
export function migrateEmbedded(folder: string): string {
  const lock = takeFolder(folder, "embedded", DataLock.take);
  try {
    prepareLedger(filesOf(folder).ledger, lock !== null);
    return `the schema in ${folder} is up to date`;
  } finally {
    lock?.release();
  }
}

function openMetrics(ledger: string, settings: Settings, isReading: boolean, lock: DataLock): Metric[] {
  try {
    prepareLedger(ledger, settings.migrate);
    return isReading ? storedMetrics(ledger) : ensureMetrics(ledger, settings.metrics);
  } catch (error) {
    // Whoever can mend it starts again.
    lock.release();
    throw error;
  }
}

function recover(files: Files, head: LogHead, filters: FilterShare): void {
  const ledger = new SqliteLedgerReader(files.ledger, filters);
  try {
    const last = new Map(ledger.sources().map(({ source, shard, last }) => [`${source} ${shard}`, last]));
    const lastOf = (source: string, shard: number) => last.get(`${source} ${shard}`) ?? 0;
    openLog(files, head, ledger.position());
    recoverLog(files, head, { lastOf });
  } finally {
    ledger.close();
  }
}

async function catchUp(projector: ProjectorLink, head: LogHead): Promise<void> {
  const began = performance.now();
  if (!(await projector.control.untilApplied(head.position, CATCH_UP_MS_MAX))) {
    throw new StartError("the ledger cannot be brought up to the log; see the messages above");
  }
  const ms = Math.round(performance.now() - began);
  if (ms > 500) log.info("the ledger was brought up to the log", { ms });
}

/** The clock goes on above every stamp there is, so that lists stay newest first when the wall clock was set back. */
function highestTime(ledgerPath: string, filters: FilterShare): Time {
  const ledger = new SqliteLedgerReader(ledgerPath, filters);
  try {
    return Math.max(0, ...ledger.shards().map(({ stampMax }) => timeOf(stampMax)));
  } finally {
    ledger.close();
  }
}

function createTable(path: string, countersMax: number, source: string): CounterTable {
  return CounterTable.create({ path, countersMax, source, nowMs: Date.now() });
}
