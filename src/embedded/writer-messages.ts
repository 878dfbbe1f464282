import type { MessagePort } from "node:worker_threads";
import type { Time } from "../arithmetic/stamp.ts";
import type { ActRingShare } from "./acts.ts";
import type { NodeShare } from "./attach.ts";
import type { Taken } from "./numbered.ts";
import type { JobReply, WriterJob } from "./writer-jobs.ts";

/** What main hands to the writer thread. */
export interface WriterData {
  logFolder: string;
  logHead: SharedArrayBuffer;
  applied: SharedArrayBuffer;
  node: NodeShare;
  source: string;
  /** Of sets, erasures and merges. */
  jobSource: string;
  clock: Time;
  commands: MessagePort;
}

export type WriterCommand =
  | { kind: "join"; thread: number; ring: ActRingShare; wake: MessagePort }
  | { kind: "left"; thread: number }
  | { kind: "note"; id: number; frame: Uint8Array }
  | { kind: "job"; id: number; job: WriterJob }
  | { kind: "numbered"; id: number; frame: Uint8Array }
  | { kind: "last-of"; id: number; source: string }
  | { kind: "stop" };

/** A worker to the writer: a frame of an upload's events, or the question which numbers of a source the log has. */
export type BulkCommand = { id: number } & ({ frame: Uint8Array } | { source: string });

/** The writer to a worker: an act's reply waits in the ring (0), or this. */
export type WriterReply = 0 | BulkReply;
export type BulkReply = { id: number; answer: Taken | Float64Array };

export type WriterMessage =
  | { kind: "ready" }
  | { kind: "noted"; id: number; end: number }
  | { kind: "refused"; id: number; message: string }
  | { kind: "job"; id: number; reply: JobReply }
  | { kind: "numbered"; id: number; taken: Taken }
  | { kind: "last-of"; id: number; last: number[] }
  | { kind: "disk"; trouble: string | null }
  | { kind: "stopped" };

/** The table's thread numbers: main, the writer, then the workers. */
export const WRITER_THREAD = 1;
