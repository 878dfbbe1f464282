import { randomBytes } from "node:crypto";
import { type Time, timeOf } from "../arithmetic/stamp.ts";
import type { Settings } from "../config.ts";
import { SketchBoard } from "../distinct/board.ts";
import { EXIT, StartError } from "../errors.ts";
import { inFolder, takeFolder } from "../local/folder.ts";
import { DataLock } from "../local/lock.ts";
import { LogHead } from "../local/log.ts";
import { LogDisk } from "../local/log-disk.ts";
import { recoverLog } from "../local/recovery.ts";
import type { Metric } from "../model.ts";
import { HotStoreAway } from "../ports/hot-store.ts";
import { LedgerUnavailable } from "../ports/ledger.ts";
import { numberMetrics } from "../ports/metric-numbers.ts";
import type { NodeEvents } from "../ports/node.ts";
import { CounterTable } from "../tallies/table.ts";
import { log } from "../telemetry/log.ts";
import { openVisitors } from "../visitors/visitors.ts";
import { clusterFilesOf } from "./files.ts";
import { Freshness } from "./freshness.ts";
import { ensureTopics } from "./kafka/topics.ts";
import { HEIR } from "./log-data.ts";
import { LogLink } from "./log-link.ts";
import { ensureMetrics, prepareLedger } from "./mysql/open-ledger.ts";
import { ClusterNode } from "./node.ts";
import { NOTE_FRAME_BYTES } from "./note-frames.ts";
import { ProjectorLink } from "./projector-link.ts";
import { RankerLink } from "./ranker-link.ts";
import { readRemembered, writeRemembered } from "./remembered.ts";
import { StoreStates } from "./store-states.ts";
import { openHot, openSharedLedger, storesOf } from "./stores.ts";
import { untilThere } from "./until-there.ts";

/** How long a start waits for what an earlier run left to show in Redis, so that no count is seen to fall. */
const CATCH_UP_MS_MAX = 5_000;

/**
 * Each step stands on the one before: lock → schema, metrics and topics (or, while a store is away, what this directory
 * remembers of them) → what a killed run owed goes into the outbox → an empty counter table → the log thread, which ships
 * and shows what the outbox holds → the projector.
 *
 * Throws StartError for what only a person can mend. A store that is away is none of that: the node is `degraded` then. But
 * a new directory has nothing to remember, and waits.
 */
export function startCluster(settings: Settings, events: NodeEvents): Promise<ClusterNode> {
  return inFolder(settings.data, () => start(settings, events));
}

async function start(settings: Settings, events: NodeEvents): Promise<ClusterNode> {
  const files = clusterFilesOf(settings.data);
  const lock = takeFolder(settings.data, DataLock.takeOrRefuse);
  await checkRedis(settings);
  const { metrics, partitions } = await agree(settings, events.stopping);
  const head = new LogHead();
  // Of a run that died the ledger cannot always be asked: it has an heir, whose numbers begin at 1.
  recoverLog(files, head, {
    lastOf: () => 0,
    frames: { heir: HEIR, partitions, bytesMax: NOTE_FRAME_BYTES },
    isLoose: true,
  });
  const source = randomBytes(8).toString("hex");
  const table = CounterTable.create({
    path: files.counters,
    countersMax: settings.countersMax,
    source,
    nowMs: Date.now(),
  });
  const visitors = openVisitors(files.visitors);
  const freshness = Freshness.allocate(table.slotsMax);
  const sketches = SketchBoard.allocate();
  const applied = new LogHead();
  const clock = await ledgerTime(settings, partitions);
  const caughtUp = Promise.withResolvers<void>();
  const disk = new LogDisk("outbox", events.changed);
  const stores = new StoreStates(events.changed);
  const link = await LogLink.start(
    {
      settings,
      logFolder: files.log,
      logHead: head.share,
      applied: applied.share,
      table: table.share(),
      freshness,
      sketches,
      source,
      partitions,
      clock,
    },
    {
      disk: (trouble) => disk.tell(trouble),
      store: (name, state) => stores.set("log", name, state),
      caughtUp: caughtUp.resolve,
      died: events.broken,
    },
  );
  await Promise.race([caughtUp.promise, Bun.sleep(CATCH_UP_MS_MAX)]);
  const projector = settings.consumer
    ? new ProjectorLink(
        { settings, partitions },
        {
          // Whether MySQL is there the log thread finds out; the projector hears of it only when there is something to do.
          store: (name, state) => name !== "mysql" && stores.set("projector", name, state),
          died: events.broken,
        },
      )
    : null;
  const ranker = new RankerLink({ settings }, events.broken);
  return new ClusterNode({
    settings,
    lock,
    metrics,
    partitions,
    head,
    applied,
    table,
    visitors,
    freshness,
    sketches,
    link,
    projector,
    ranker,
    stores,
    disk,
    source,
  });
}

/** What every node must agree on. */
async function agree(
  settings: Settings,
  stopping: AbortSignal | undefined,
): Promise<{ metrics: Metric[]; partitions: number }> {
  const remembered = readRemembered(settings.data);
  const work = async () => {
    const { mysqlUrl } = storesOf(settings);
    const [partitions, metrics] = await Promise.all([
      ensureTopics(settings),
      prepareLedger(mysqlUrl, settings.migrate).then(() => ensureMetrics(mysqlUrl, settings.metrics)),
    ]);
    writeRemembered(settings.data, { metrics, partitions });
    return { metrics, partitions };
  };
  return untilThere(stopping, work, ({ message: reason }) => {
    const known = remembered && numberMetrics(settings.metrics, remembered.metrics);
    if (remembered && known?.added.length === 0) {
      log.warn("a store is away: started with what this directory remembers of it", { reason });
      return { metrics: known.metrics, partitions: remembered.partitions };
    }
    log.warn("a store is away, and this directory knows nothing of it yet: waiting", { reason });
    return undefined;
  });
}

/** Refuses a Redis that would lose what is in it; one that is away may be fit. */
async function checkRedis(settings: Settings): Promise<void> {
  const hot = openHot(settings);
  try {
    await hot.checkServer();
  } catch (error) {
    if (!(error instanceof HotStoreAway)) throw error;
    log.warn("Redis is away", { reason: error.message });
  } finally {
    await hot.close();
  }
}

/** The clock goes on above every stamp there is (the log thread adds the outbox's), so that lists stay newest first when the wall clock was set back. */
async function ledgerTime(settings: Settings, partitions: number): Promise<Time> {
  const ledger = openSharedLedger(settings, partitions);
  try {
    return Math.max(0, ...(await ledger.shards()).map(({ stampMax }) => timeOf(stampMax)));
  } catch (error) {
    if (error instanceof LedgerUnavailable) return 0;
    throw error;
  } finally {
    ledger.close();
  }
}

/** The schema alone. */
export async function migrateCluster(settings: Settings): Promise<string> {
  const { mysqlUrl } = storesOf(settings);
  try {
    await prepareLedger(mysqlUrl, true);
  } catch (error) {
    if (!(error instanceof LedgerUnavailable)) throw error;
    throw new StartError(error.message, EXIT.unavailable);
  }
  return "the schema in MySQL is up to date";
}
