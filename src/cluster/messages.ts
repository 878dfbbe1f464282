import type { MessagePort } from "node:worker_threads";
import type { Stamp } from "../arithmetic/stamp.ts";
import type { Settings } from "../config.ts";
import type { Code } from "../distinct/code.ts";
import type { Distinct } from "../distinct/sketches.ts";
import type { NumberedEvent } from "../ports/bulk.ts";
import type { OnceKey } from "../ports/counting.ts";
import type { CountName } from "../ports/hot-store.ts";
import type { Agreed } from "./agreed.ts";
import type { OwnAct, OwnQuestion } from "./own-acts.ts";

/** An act for the log: a relation that is set (`by` 0), a keyed increment (`actor` empty), or a visitor alone (no key either). */
export interface Act {
  shard: number;
  metric: number;
  subject: string;
  actor: string;
  active: boolean;
  by: number;
  /** The register's newest stamp as the caller saw it; null where it could not be seen. */
  seen: Stamp | null;
  /** A repeat of what already is, logged for its key only: it keeps the stamp seen. */
  isKept: boolean;
  once: OnceKey | null;
  /** The time it brought with it, null where it counts now. */
  atMs: number | null;
  /** Who counts, of a distinct tally. */
  visitor: Code | null;
}

/** A visitor of a distinct tally, now. */
export interface Visit {
  metric: number;
  subject: string;
  code: Code;
}

/** Where what was logged is. */
export interface Shipped {
  /** Whether Kafka has it; otherwise this node's disk. */
  isShipped: boolean;
  /** Whether all would wait for it though Redis lost it: Kafka has it, or the ledger knows of this node's spool. */
  isTold: boolean;
}

/** The act as it stands in the log. */
export interface Logged extends Shipped {
  stamp: Stamp;
  source: string;
  n: number;
}

/** What becomes of an act: `null` where it could not be logged, "key-reused" where its key is that of another body. */
export type ActAnswer = Logged | "key-reused" | null;

/** Whether the act stands in the log. */
export function isLogged(answer: ActAnswer | undefined): answer is Logged {
  return answer !== null && answer !== undefined && answer !== "key-reused";
}

/** One of many, numbered and stamped by its source. */
export interface StampedEvent extends NumberedEvent {
  /** 0 where it is no relation's. */
  stamp: Stamp;
}

/** A block as it stands in the log. */
export interface BulkLogged {
  /** Whether Kafka has it; otherwise this node's disk. */
  isShipped: boolean;
  /** Whether Redis has its tallies, and all would wait for it though Redis lost it. */
  isShown: boolean;
}

/** What a request thread asks of the log thread. */
export type LogQuestion =
  | { kind: "acts"; acts: Act[] }
  | { kind: "end"; shard: number }
  | { kind: "visits"; visits: Visit[] }
  | { kind: "distinct"; metric: number; subject: string }
  | { kind: "bulk"; source: string; events: StampedEvent[] }
  | { kind: "own"; questions: OwnQuestion[] }
  | { kind: "own-counts" }
  | { kind: "unseen" }
  | { kind: "kafka" };

export type ToLog = LogQuestion & { id: number };

/** What the log thread answers to each. */
export interface LogAnswers {
  /** Durable, but for those that are not in the log. */
  acts: ActAnswer[];
  end: number | null;
  /** As with acts; what each one's register is at least in both sketches. */
  visits: (number | null)[];
  /** Null where it is not known. */
  distinct: Distinct | null;
  bulk: BulkLogged | null;
  own: OwnAct[][];
  "own-counts": CountName[];
  /** Whether the ledger knows that this node has acts which no copy shows. */
  unseen: boolean;
  /** Whether Kafka is there, for all that is known. */
  kafka: boolean;
}

export interface FromLog {
  id: number;
  answer: LogAnswers[keyof LogAnswers];
}

/** Main to the log thread. */
export type LogCommand =
  | { kind: "join"; thread: number; port: MessagePort }
  | { kind: "left"; thread: number }
  | { kind: "note"; id: number; frame: Uint8Array }
  /** Metrics were added, or stores that were away have answered. */
  | { kind: "agreed"; agreed: Agreed }
  | { kind: "stop" };

/** One store as one thread finds it. */
export interface StoreState {
  isUp: boolean;
  detail: string;
}

export type StoreName = "redis" | "kafka" | "mysql";

/** The log thread to main. */
export type LogMessage =
  | { kind: "ready" }
  | { kind: "noted"; id: number; end: number }
  | { kind: "refused"; id: number; message: string }
  | { kind: "store"; name: StoreName; state: StoreState }
  | { kind: "disk"; trouble: string | null }
  | { kind: "caught-up" }
  | { kind: "stopped" };

/** What main hands to the projector thread. */
export interface ProjectorData {
  settings: Settings;
  partitions: number;
  commands: MessagePort;
}

/** Main to the projector thread and back. */
export type ProjectorCommand = { kind: "stop" };
export type ProjectorMessage =
  | { kind: "ready" }
  | { kind: "store"; name: StoreName; state: StoreState }
  /** `lag`: messages not yet applied; `lagMs`: for how long the oldest of them has been known. */
  | { kind: "progress"; records: number; lag: number; lagMs: number; deadLetters: number; losses: number }
  | { kind: "stopped" };
