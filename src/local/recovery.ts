import { existsSync } from "node:fs";
import { SHARDS, shardOfSubject } from "../arithmetic/shard.ts";
import { fault } from "../lib/fault.ts";
import { encodeUtf8 } from "../lib/utf8.ts";
import { NOTE_BYTES_MAX, SUBJECT_SCRATCH_BYTES } from "../limits.ts";
import type { LogReader, Position } from "../ports/log.ts";
import { FrameWriter, frameSource, readFrame } from "../records.ts";
import { type OwedAmount, readTableHeader, recoverTable } from "../tallies/recovery.ts";
import type { LogWriter } from "./log.ts";

/** What a counter file of an earlier run held that the log did not. */
export interface Recovered {
  /** Counters and their sum that were added to the log now. */
  counters: number;
  amount: number;
  /** False after a power cut: the file's pages may be of any age, so only what is in the log counts. */
  trusted: boolean;
  /** ISO 8601: the last flush of that run. */
  flushedAt: string;
}

/**
 * Does what the last run of a killed server was about to do: the flush that it still owed. Under that run's own source and
 * with its next numbers, so that a crash in here, at any step, makes this happen again with what is then still owed.
 *
 *     1. the last notes of that run are in the log, and their slots may not have been told (the flusher's step 3)
 *     2. then what the slots owe, adds − noted, goes into the log as further notes
 *     3. the file is replaced by an empty one: everything is in the log
 *     a crash between 2 and 3: those notes are the last ones now, 1 reads them, and 2 finds nothing owed
 *
 * Null where there is no file. Throws StartError where it cannot be believed.
 */
export function recoverCounters(path: string, log: LogWriter, reader: LogReader, lastOf: LastNumber): Recovered | null {
  if (!existsSync(path)) return null;
  const { source, notedPosition, flushedAtMs } = readTableHeader(path);
  const { marks, last } = notesOf(source, notedPosition, log.head, reader, lastOf);
  const { owed, trusted } = recoverTable(path, marks);
  appendNotes(source, owed, last, flushedAtMs, log);
  const amount = owed.reduce((sum, each) => sum + each.amount, 0);
  return { counters: owed.length, amount, trusted, flushedAt: new Date(flushedAtMs).toISOString() };
}

/** The last number of a source on a shard that the ledger has decided. */
export type LastNumber = (source: string, shard: number) => number;

function notesOf(source: string, notedPosition: Position, head: Position, reader: LogReader, lastOf: LastNumber) {
  const marks = new Map<number, number>();
  const last = Float64Array.from({ length: SHARDS }, (_, shard) => lastOf(source, shard));
  for (let at = reader.start(); at < head; ) {
    const frames = reader.read(at, NOTE_BYTES_MAX);
    for (const { bytes, next } of frames) {
      at = next;
      if (frameSource(bytes) !== source) continue;
      for (const record of readFrame(bytes).records) {
        last[record.shard] = Math.max(last[record.shard] as number, record.n);
        if (record.kind === "tally" && next > notedPosition) marks.set(record.slot, record.notedAfter);
      }
    }
    if (frames.length === 0) break;
  }
  return { marks, last };
}

function appendNotes(source: string, owed: OwedAmount[], last: Float64Array, atMs: number, log: LogWriter): void {
  const frame = new FrameWriter();
  const scratch = new Uint8Array(SUBJECT_SCRATCH_BYTES);
  for (let i = 0; i < owed.length; ) {
    frame.begin(source);
    for (; i < owed.length && frame.size < NOTE_BYTES_MAX; i++) {
      const { slot, metric, subject, amount, notedAfter } = owed[i] as OwedAmount;
      const shard = shardOfSubject(scratch, encodeUtf8(subject, scratch, 0));
      const n = (last[shard] as number) + 1;
      last[shard] = n;
      frame.add({ kind: "tally", shard, n, metric, subject, amount, atMs, slot, notedAfter });
    }
    fault("recovery.append");
    log.append(frame.finish());
    fault("recovery.appended");
  }
}
