import type { MessagePort } from "node:worker_threads";
import type { Settings } from "../config.ts";
import { SketchBoard } from "../distinct/board.ts";
import { LOOK_MS_MAX } from "../limits.ts";
import type { Admin } from "../ports/admin.ts";
import type { Counting } from "../ports/counting.ts";
import type { Histories } from "../ports/histories.ts";
import type { PastSpan } from "../ports/hot-store.ts";
import type { Rankings } from "../ports/rankings.ts";
import type { Visitors } from "../ports/visitors.ts";
import { CounterTable, type TableShare } from "../tallies/table.ts";
import { Claims, type ClaimsShare } from "../visitors/claims.ts";
import { NodeVisitors } from "../visitors/visitors.ts";
import { ClusterAdmin } from "./admin.ts";
import { Applied } from "./applied.ts";
import { fromLedger } from "./away.ts";
import { ClusterCounting } from "./counting.ts";
import { Freshness, type FreshnessShare } from "./freshness.ts";
import { LoadLocks } from "./load-locks.ts";
import { LogClient } from "./log-client.ts";
import { Shards } from "./shards.ts";
import { openRedis, openSharedLedger } from "./stores.ts";
import { ClusterTops } from "./tops.ts";
import { ClusterVisitors } from "./visitors.ts";

/** The shared memory of a node and one request thread's way to the log thread. */
export interface ClusterShare {
  deployment: "cluster";
  settings: Settings;
  partitions: number;
  table: TableShare;
  visitors: ClaimsShare;
  freshness: FreshnessShare;
  loadLocks: SharedArrayBuffer;
  /** What the sketches' owner tells (SketchBoard). */
  sketches: SharedArrayBuffer;
  /** What the log thread finds of MySQL (AwayNews). */
  mysqlAway: SharedArrayBuffer;
  /** The table's number of this thread. */
  thread: number;
  log: MessagePort;
  /** To main, for what administrators ask. */
  admin: MessagePort;
}

/** A request thread's part of a cluster's node: its own connections to Redis and MySQL. */
export function attachCluster(share: ClusterShare, press: () => void) {
  const { settings, partitions } = share;
  const { hot, visitors: shared } = openRedis(settings);
  const node = new NodeVisitors(Claims.attach(share.visitors, share.thread));
  const ledger = openSharedLedger(settings, partitions, { word: share.mysqlAway, isTeller: false });
  const log = new LogClient(share.log);
  const shards = new Shards({ hot, ledger, end: (shard) => log.end(shard) });
  const table = CounterTable.attach(share.table, share.thread);
  const applied = new Applied({ ledger, log, partitions });
  const parts = { table, freshness: new Freshness(share.freshness), hot, ledger, shards, log, applied };
  const beganMs = performance.now();
  const counting = new ClusterCounting({
    ...parts,
    locks: new LoadLocks(share.loadLocks),
    sketches: new SketchBoard(share.sketches),
    flushMs: settings.flushMs,
    // A connection that is only just made says nothing of Redis (FirstConnection).
    isShown: () => hot.state.up || performance.now() - beganMs < LOOK_MS_MAX,
    press,
  });
  const admin = new ClusterAdmin({ ...parts, port: share.admin, counting });
  return {
    counting: counting satisfies Counting,
    pastSince: (asked: readonly PastSpan[]) => hot.pastSince(asked),
    visitors: new ClusterVisitors(node, shared) satisfies Visitors,
    rankings: new ClusterTops(ledger) satisfies Rankings,
    histories: {
      hours: ({ id }, subject, from, to) => fromLedger(() => ledger.history(id, subject, from, to)),
    } satisfies Histories,
    admin: admin satisfies Admin,
    close() {
      admin.close();
      log.close();
      ledger.close();
      void hot.close();
    },
  };
}
