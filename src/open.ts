import type { Transferable } from "node:worker_threads";
import { archiveCluster } from "./cluster/archive.ts";
import { attachCluster, type ClusterShare } from "./cluster/attach.ts";
import { Consumer } from "./cluster/consume.ts";
import { migrateCluster, startCluster } from "./cluster/start.ts";
import { verifyCluster } from "./cluster/verify.ts";
import { deployment, type Settings } from "./config.ts";
import { attachEmbedded, type EmbeddedShare } from "./embedded/attach.ts";
import { archiveEmbedded, migrateEmbedded, startEmbedded, verifyEmbedded } from "./embedded/start.ts";
import { StartError } from "./errors.ts";
import type { Metric } from "./model.ts";
import type { Admin } from "./ports/admin.ts";
import type { ExportSource, ImportTarget } from "./ports/archive.ts";
import type { Counting } from "./ports/counting.ts";
import type { Histories } from "./ports/histories.ts";
import type { HotStore } from "./ports/hot-store.ts";
import type { NodeEvents, NodePart } from "./ports/node.ts";
import type { Rankings } from "./ports/rankings.ts";
import type { Say, Verified } from "./ports/verified.ts";
import type { Visitors } from "./ports/visitors.ts";
import type { PastChanges } from "./tallies/past-changes.ts";
import type { Reading } from "./telemetry/prometheus.ts";
import type { LogLag } from "./telemetry/usage.ts";

/** The stores of this process, whichever they are: what main holds. */
export interface Node {
  readonly metrics: Metric[];
  /** What request thread `index` needs, and what of it is handed over rather than copied. */
  join(index: number): { share: unknown; transfer: Transferable[] };
  left(index: number): void;
  /** Somebody waits for room in the counter table, or for a flush. */
  press(): void;
  /** Takes the metrics of new settings; throws StartError where a kind contradicts stored data. */
  configure(settings: Settings): Metric[] | Promise<Metric[]>;
  /** Parts that can be down on their own, for /readyz. */
  parts(): Record<string, NodePart>;
  /** Whether nothing can be made durable. */
  readonly isUnable: boolean;
  readings(): Reading[];
  lag(): LogLag;
  stop(): Promise<void>;
}

/** What a request thread needs of them, ready to be handed over. */
export type ThreadShare = EmbeddedShare | ClusterShare;

export interface Thread {
  counting: Counting;
  visitors: Visitors;
  histories: Histories;
  rankings: Rankings;
  admin: Admin;
  /** What moves counts and is no news: on one machine, and in a cluster. */
  past?: PastChanges;
  pastSince?: HotStore["pastSince"];
  close(): void;
}

/** Settings → stores. The only file that knows that there are two kinds. */
export async function openNode(settings: Settings, events: NodeEvents): Promise<Node> {
  return deployment(settings) === "cluster" ? startCluster(settings, events) : startEmbedded(settings, events);
}

/** Only the projector: what main holds in `tally consume`. */
type Projecting = Pick<Node, "parts" | "readings" | "stop">;

export async function openConsumer(settings: Settings, events: NodeEvents): Promise<Projecting> {
  if (deployment(settings) === "embedded") {
    throw new StartError("consume is for clusters: give it --redis-url, --kafka-brokers and --mysql-url");
  }
  return Consumer.start(settings, events);
}

/** Brings the stores' schema up to date; what was done, in words. */
export async function migrateStores(settings: Settings): Promise<string> {
  return deployment(settings) === "cluster" ? migrateCluster(settings) : migrateEmbedded(settings.data);
}

/** Recounts everything and compares every copy, beside a running server too. */
export async function verifyNode(settings: Settings, repair: boolean, say: Say): Promise<Verified> {
  return deployment(settings) === "cluster"
    ? verifyCluster(settings, repair, say)
    : verifyEmbedded(settings, repair, say);
}

/** Everything that is stored, in and out. */
export function openArchive(settings: Settings): { source(): Promise<ExportSource>; target(): Promise<ImportTarget> } {
  return deployment(settings) === "cluster" ? archiveCluster(settings) : archiveEmbedded(settings);
}

/** A request thread's part. `press` asks main for room in the counter table. */
export function openThread(share: ThreadShare, press: () => void): Thread {
  return share.deployment === "cluster" ? attachCluster(share, press) : attachEmbedded(share, press);
}
