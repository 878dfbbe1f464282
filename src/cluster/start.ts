import { randomBytes } from "node:crypto";
import { type Time, timeOf } from "../arithmetic/stamp.ts";
import type { Settings } from "../config.ts";
import { SketchBoard } from "../distinct/board.ts";
import { inFolder, takeFolder } from "../local/folder.ts";
import { DataLock } from "../local/lock.ts";
import { LogHead } from "../local/log.ts";
import { LogDisk } from "../local/log-disk.ts";
import { recoverLog } from "../local/recovery.ts";
import { LedgerUnavailable } from "../ports/ledger.ts";
import type { NodeEvents } from "../ports/node.ts";
import { CounterTable } from "../tallies/table.ts";
import { openVisitors } from "../visitors/visitors.ts";
import { Agreement, type Reached } from "./agreement.ts";
import { Asking } from "./asking.ts";
import { clusterFilesOf } from "./files.ts";
import { Freshness } from "./freshness.ts";
import { HEIR } from "./log-data.ts";
import { LogLink } from "./log-link.ts";
import { AwayNews } from "./mysql/away-news.ts";
import { prepareLedger } from "./mysql/open-ledger.ts";
import { ClusterNode } from "./node.ts";
import { NOTE_FRAME_BYTES } from "./note-frames.ts";
import { ProjectorLink } from "./projector-link.ts";
import { RankerLink } from "./ranker-link.ts";
import { commandError } from "./refused.ts";
import { readRemembered, writeRemembered } from "./remembered.ts";
import { StoreStates } from "./store-states.ts";
import { openSharedLedger, storesOf } from "./stores.ts";

/** How long a start waits for what an earlier run left to show in Redis, so that no count is seen to fall. */
const CATCH_UP_MS_MAX = 5_000;

/**
 * Each step stands on the one before: lock → schema, metrics and topics (or, while a store is away, what copies say of them)
 * → what a killed run owed goes into the outbox → an empty counter table → the log thread, which ships and shows what the
 * outbox holds → the projector.
 *
 * Throws StartError for what only a person can mend. A store that is away is none of that: the node is `degraded` then, or
 * waits where nobody who can be asked knows what it must know.
 */
export function startCluster(settings: Settings, events: NodeEvents): Promise<ClusterNode> {
  return inFolder(settings.data, () => start(settings, events));
}

async function start(configured: Settings, events: NodeEvents): Promise<ClusterNode> {
  const files = clusterFilesOf(configured.data);
  const lock = takeFolder(configured.data, "cluster", DataLock.takeOrRefuse);
  const stores = new StoreStates(events.changed);
  const asking = new Asking(configured, stores, events);
  const isNew = readRemembered(configured.data) === null;
  const agreement = new Agreement(configured, asking);
  const reached = await agreement.reach(events.stopping);
  const { agreed, metrics, hasLedger } = reached;
  const { partitions } = agreed;
  writeRemembered(configured.data, agreed);
  // A topic that is lost later is made again as it was.
  const settings = { ...configured, kafkaPartitions: partitions };
  const head = new LogHead();
  // Of a run that died the ledger cannot always be asked: it has an heir, whose numbers begin at 1.
  recoverLog(files, head, {
    lastOf: () => 0,
    frames: { heir: HEIR, partitions, bytesMax: NOTE_FRAME_BYTES },
    isLoose: true,
    isCopy: lock.isCopy(),
  });
  const source = randomBytes(8).toString("hex");
  const table = CounterTable.create({
    path: files.counters,
    countersMax: settings.countersMax,
    source,
    nowMs: Date.now(),
  });
  lock.settle();
  const visitors = openVisitors(files.visitors);
  const freshness = Freshness.allocate(table.slotsMax);
  const sketches = SketchBoard.allocate();
  const mysqlAway = AwayNews.allocate();
  const applied = new LogHead();
  const clock = hasLedger ? await ledgerTime(settings, partitions) : 0;
  const caughtUp = Promise.withResolvers<void>();
  const disk = new LogDisk("outbox", events.changed);
  const link = await LogLink.start(
    {
      settings,
      logFolder: files.log,
      logHead: head.share,
      applied: applied.share,
      table: table.share(),
      freshness,
      sketches,
      mysqlAway,
      source,
      partitions,
      agreed,
      clock,
    },
    {
      disk: (trouble) => disk.tell(trouble),
      store: (name, state) => stores.set("log", name, state),
      caughtUp: caughtUp.resolve,
      died: events.broken,
    },
  );
  // A new directory has nothing to show: it waits for the shards' copies only, which a store that is away keeps from coming.
  const isAway = Object.values(stores.parts()).some(({ status }) => status === "down");
  if (!(isNew && isAway)) await Promise.race([caughtUp.promise, Bun.sleep(CATCH_UP_MS_MAX)]);
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
  asking.started();
  void confirm(agreement, reached, { settings, events, link });
  return new ClusterNode({
    settings,
    lock,
    metrics,
    agreed,
    head,
    applied,
    table,
    visitors,
    freshness,
    sketches,
    mysqlAway,
    link,
    projector,
    ranker,
    stores,
    disk,
    source,
  });
}

/** What a node has started with is compared with what MySQL and Kafka say, as soon as they are there. */
async function confirm(
  agreement: Agreement,
  reached: Reached,
  { settings, events, link }: { settings: Settings; events: NodeEvents; link: LogLink },
): Promise<void> {
  if (reached.hasLedger && reached.hasTopic) return;
  try {
    await agreement.confirm(reached, events.stopping, (agreed) => {
      writeRemembered(settings.data, agreed);
      link.agreed(agreed);
    });
  } catch (error) {
    if (!events.stopping?.aborted) events.broken(error);
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
    throw commandError(error, settings);
  }
  return "the schema in MySQL is up to date";
}
