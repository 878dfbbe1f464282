import type { MessagePort } from "node:worker_threads";
import type { Time } from "../arithmetic/stamp.ts";
import type { Settings } from "../config.ts";
import { UPLOAD } from "../ports/bulk.ts";
import type { TableShare } from "../tallies/table.ts";
import type { Agreed } from "./agreed.ts";
import type { FreshnessShare } from "./freshness.ts";

/** What main hands to the log thread. */
export interface LogData {
  settings: Settings;
  logFolder: string;
  logHead: SharedArrayBuffer;
  /** Up to where the ledger has the outbox; the log thread sets it. */
  applied: SharedArrayBuffer;
  table: TableShare;
  freshness: FreshnessShare;
  /** What the sketches' owner tells (SketchBoard). */
  sketches: SharedArrayBuffer;
  /** What this thread finds of MySQL (AwayNews). */
  mysqlAway: SharedArrayBuffer;
  /** The name of this run: the source of its notes; that of its acts has ACTS behind it. */
  source: string;
  partitions: number;
  /** For Redis to keep a copy of. */
  agreed: Agreed;
  /** The newest time in the ledger. */
  clock: Time;
  commands: MessagePort;
}

/** Behind a run's name: the source of its acts, and the source of what was recovered after its death. */
export const ACTS = "r";
export const HEIR = "x";

/** Sources whose records are answered when Kafka has them. */
export function isActs(name: string): boolean {
  return name.endsWith(ACTS) || name.startsWith(UPLOAD);
}

/** The table's thread numbers: main, the log thread, then the workers. */
export const LOG_THREAD = 1;
