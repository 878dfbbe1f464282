import { existsSync } from "node:fs";
import { SHARDS, shardOfSubject } from "../arithmetic/shard.ts";
import { fault } from "../lib/fault.ts";
import { encodeUtf8 } from "../lib/utf8.ts";
import { NOTE_BYTES_MAX, SUBJECT_SCRATCH_BYTES } from "../limits.ts";
import type { LogReader, Position } from "../ports/log.ts";
import { FrameWriter, frameSource, readFrame } from "../records.ts";
import { type OwedAmount, readTableHeader, recoverTable } from "../tallies/recovery.ts";
import { log } from "../telemetry/log.ts";
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
export function recoverCounters(
  path: string,
  outbox: LogWriter,
  reader: LogReader,
  { lastOf, frames = WHOLE }: { lastOf: LastNumber; frames?: NoteFrames },
): Recovered | null {
  if (!existsSync(path)) return null;
  const { source, notedPosition, ...times } = readTableHeader(path);
  // A run that was killed before its first flush counted since it began.
  const flushedAtMs = Math.max(times.flushedAtMs, times.createdMs);
  const heir = source + frames.heir;
  const { marks, last } = notesOf({ source, heir }, notedPosition, outbox.head, reader, lastOf);
  const { owed, trusted } = recoverTable(path, marks);
  appendNotes(heir, owed, last, flushedAtMs, outbox, frames);
  const amount = owed.reduce((sum, each) => sum + each.amount, 0);
  return { counters: owed.length, amount, trusted, flushedAt: new Date(flushedAtMs).toISOString() };
}

/** Tells the user what a start found. */
export function tellRecovered(recovered: Recovered | null): void {
  if (recovered === null) return;
  const { trusted, flushedAt, counters, amount } = recovered;
  if (!trusted) log.warn("the machine stopped: what was counted after the last flush is lost", { flushedAt });
  else if (counters > 0) log.info("counts of a killed server were recovered", { counters, sum: amount });
}

/** The last number of a source on a shard that the ledger has decided. */
export type LastNumber = (source: string, shard: number) => number;

/**
 * How the notes are cut, and under whose name they go. A cluster's node may not be able to ask the ledger for the last
 * number of the run that died, so it has an heir: the run's name and a letter, whose numbers begin at 1. A crash in here
 * leaves the heir's notes in the log, where they are found.
 */
export interface NoteFrames {
  heir: string;
  /** Frames hold the shards of one partition each. */
  partitions: number;
  bytesMax: number;
}
const WHOLE: NoteFrames = { heir: "", partitions: 1, bytesMax: NOTE_BYTES_MAX };

function notesOf(
  { source, heir }: { source: string; heir: string },
  notedPosition: Position,
  head: Position,
  reader: LogReader,
  lastOf: LastNumber,
) {
  const marks = new Map<number, number>();
  const last = Float64Array.from({ length: SHARDS }, (_, shard) => lastOf(heir, shard));
  for (let at = reader.start(); at < head; ) {
    const frames = reader.read(at, NOTE_BYTES_MAX);
    for (const { bytes, next } of frames) {
      at = next;
      const from = frameSource(bytes);
      if (from !== source && from !== heir) continue;
      for (const record of readFrame(bytes).records) {
        if (from === heir) last[record.shard] = Math.max(last[record.shard] as number, record.n);
        if (record.kind === "tally" && next > notedPosition) marks.set(record.slot, record.notedAfter);
      }
    }
    if (frames.length === 0) break;
  }
  return { marks, last };
}

function appendNotes(
  source: string,
  owed: OwedAmount[],
  last: Float64Array,
  atMs: number,
  log: LogWriter,
  { partitions, bytesMax }: NoteFrames,
): void {
  const frame = new FrameWriter();
  const scratch = new Uint8Array(SUBJECT_SCRATCH_BYTES);
  const placed: [shard: number, owed: OwedAmount][][] = Array.from({ length: partitions }, () => []);
  for (const each of owed) {
    const shard = shardOfSubject(scratch, encodeUtf8(each.subject, scratch, 0));
    placed[shard % partitions]?.push([shard, each]);
  }
  for (const part of placed) {
    for (let i = 0; i < part.length; ) {
      frame.begin(source);
      for (; i < part.length && frame.size < bytesMax; i++) {
        const [shard, { slot, metric, subject, amount, notedAfter }] = part[i] as [number, OwedAmount];
        const n = (last[shard] as number) + 1;
        last[shard] = n;
        frame.add({ kind: "tally", shard, n, metric, subject, amount, atMs, slot, notedAfter });
      }
      fault("recovery.append");
      log.append(frame.finish());
      fault("recovery.appended");
    }
  }
}
