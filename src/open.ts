import { deployment, type Settings } from "./config.ts";
import { attachEmbedded, type EmbeddedShare } from "./embedded/attach.ts";
import type { EmbeddedNode, NodeEvents } from "./embedded/node.ts";
import { migrateEmbedded, startEmbedded, verifyEmbedded } from "./embedded/start.ts";
import type { Say, Verified } from "./embedded/verify.ts";
import { StartError } from "./errors.ts";
import type { Counting } from "./ports/counting.ts";

/** The stores of this process, whichever they are: what main holds. */
export type Node = EmbeddedNode;
export type { NodeEvents };
/** What a request thread needs of them, ready to be handed over. */
export type ThreadShare = EmbeddedShare;

export interface Thread {
  counting: Counting;
  close(): void;
}

/** Settings → stores. The only file that knows that there are two kinds. */
export async function openNode(settings: Settings, events: NodeEvents): Promise<Node> {
  if (deployment(settings) === "cluster") {
    throw noCluster();
  }
  return startEmbedded(settings, events);
}

/** Brings the stores' schema up to date; what was done, in words. */
export async function migrateStores(settings: Settings): Promise<string> {
  if (deployment(settings) === "cluster") throw noCluster();
  return migrateEmbedded(settings.data);
}

/** Recounts everything and compares every copy, beside a running server too. */
export async function verifyNode(settings: Settings, repair: boolean, say: Say): Promise<Verified> {
  if (deployment(settings) === "cluster") throw noCluster();
  return verifyEmbedded(settings, repair, say);
}

/** A request thread's part. `press` asks main for room in the counter table. */
export function openThread(share: ThreadShare, press: () => void): Thread {
  return attachEmbedded(share, press);
}

function noCluster(): StartError {
  return new StartError(
    "Redis, Kafka and MySQL are not in this version yet: leave out their URLs to run on SQLite alone",
  );
}
