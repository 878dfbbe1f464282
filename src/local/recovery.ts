import { existsSync } from "node:fs";
import { SHARDS } from "../arithmetic/shard.ts";
import { shardOf } from "../arithmetic/shard-of.ts";
import { fault } from "../lib/fault.ts";
import { NOTE_BYTES_MAX } from "../limits.ts";
import type { LogReader, Position } from "../ports/log.ts";
import { FrameWriter, frameSource, readFrame } from "../records.ts";
import { type OwedAmount, readTableHeader, recoverTable } from "../tallies/recovery.ts";
import { log } from "../telemetry/log.ts";
import type { Files } from "./files.ts";
import { FileLogReader, type LogHead, LogWriter } from "./log.ts";

/**
 * Opens the log (`head` gets its end), and does what the last run of a killed server was about to do: the
 * flush that it still owed. Under that run's own source and with its next numbers, so that a crash in here, at any step, makes
 * this happen again with what is then still owed.
 *
 *     1. the last notes of that run are in the log, and their slots may not have been told (the flusher's step 3)
 *     2. then what the slots owe, adds − noted, goes into the log as further notes
 *     3. the file is replaced by an empty one: everything is in the log
 *     a crash between 2 and 3: those notes are the last ones now, 1 reads them, and 2 finds nothing owed
 *
 * Of a copy (`isCopy`) only the log counts: the server that the directory was copied from still has the rest.
 * Throws StartError where log or file cannot be believed.
 */
export function recoverLog(
  files: Files,
  head: LogHead,
  options: { lastOf: LastNumber; frames?: NoteFrames; isLoose?: boolean; isCopy?: boolean },
): void {
  const { lastOf, frames = WHOLE, isLoose = false, isCopy = false } = options;
  const writer = new LogWriter(files.log, head, { isLoose });
  const reader = new FileLogReader(files.log, head);
  try {
    if (!existsSync(files.counters)) return;
    const { source, notedPosition, ...times } = readTableHeader(files.counters);
    // A run that was killed before its first flush counted since it began.
    const flushedAtMs = Math.max(times.flushedAtMs, times.createdMs);
    const heir = source + frames.heir;
    const { marks, last } = notesOf({ source, heir }, notedPosition, head.position, reader, lastOf);
    const { owed, trusted } = recoverTable(files.counters, marks);
    if (isCopy && owed.length > 0) {
      log.warn(
        "this directory is a copy of another server's, which still has what it had not flushed: left to that one",
      );
      return;
    }
    appendNotes(heir, owed, last, flushedAtMs, writer, frames);
    tell(owed, trusted, flushedAtMs);
  } finally {
    reader.close();
    writer.close();
  }
}

/** After a power cut (not `trusted`) the file's pages may be of any age, so only what was in the log counts. */
function tell(owed: readonly OwedAmount[], trusted: boolean, flushedAtMs: number): void {
  const flushedAt = new Date(flushedAtMs).toISOString();
  const sum = owed.reduce((sum, { amount }) => sum + amount, 0);
  if (!trusted) log.warn("the machine stopped: what was counted after the last flush is lost", { flushedAt });
  else if (owed.length > 0) log.info("counts of a killed server were recovered", { counters: owed.length, sum });
}

/** The last number of a source on a shard that the ledger has decided. */
type LastNumber = (source: string, shard: number) => number;

/**
 * How the notes are cut, and under whose name they go. A cluster's node may not be able to ask the ledger for the last
 * number of the run that died, so it has an heir: the run's name and a letter, whose numbers begin at 1. A crash in here
 * leaves the heir's notes in the log, where they are found.
 */
interface NoteFrames {
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
  const placed: [shard: number, owed: OwedAmount][][] = Array.from({ length: partitions }, () => []);
  for (const each of owed) {
    const shard = shardOf(each.subject);
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
