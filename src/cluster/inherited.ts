import { type Time, timeOf } from "../arithmetic/stamp.ts";
import type { LogReader, Position } from "../ports/log.ts";
import { frameSource, readFrame, type VisitorRecord } from "../records.ts";
import { ActKeys } from "./act-keys.ts";
import type { HiddenActs } from "./hidden-acts.ts";
import { isActs } from "./log-data.ts";
import type { Notes } from "./notes.ts";
import type { OutboxIndex } from "./outbox-index.ts";

const READ_BYTES = 4 * 1024 * 1024;
/** Between two of these others may go on. */
const VISITORS_BYTES = 512 * 1024;

/** Takes in what an earlier run left in the outbox; the time of its newest stamp, its keys, and where its last visitor ends. */
export function inheritOutbox(
  outbox: LogReader,
  { index, notes, hidden }: { index: OutboxIndex; notes: Notes; hidden: HiddenActs },
): { time: Time; keys: ActKeys; visitorsUpTo: Position } {
  const keys = new ActKeys();
  let time = 0;
  let visitorsUpTo = 0;
  // What the ledger has already; clock and keys go on from there all the same.
  const from = index.applied;
  for (let at = outbox.start(); ; ) {
    const frames = outbox.read(at, READ_BYTES);
    for (const { bytes, next } of frames) {
      const frame = readFrame(bytes);
      if (next > from) {
        index.add(frame, next, bytes.length);
        notes.inherit(frame.records);
        hidden.inherit(frame.records);
      }
      keys.inherit(frame.records);
      for (const each of frame.records) {
        if (each.kind === "relation") time = Math.max(time, timeOf(each.stamp));
        else if (each.kind === "visitor") visitorsUpTo = next;
      }
      at = next;
    }
    if (frames.length === 0) return { time, keys, visitorsUpTo };
  }
}

/** The visitors in front of `upTo` whom the ledger has not, as far as the index knows, by stretches of the outbox. */
export function* inheritedVisitors(
  outbox: LogReader,
  index: OutboxIndex,
  upTo: Position,
): Generator<{ record: VisitorRecord; end: Position }[]> {
  for (let at = index.applied; at < upTo; ) {
    const frames = outbox.read(at, VISITORS_BYTES);
    if (frames.length === 0) return;
    const visitors: { record: VisitorRecord; end: Position }[] = [];
    for (const { bytes, next } of frames) {
      at = next;
      if (next > upTo || !isActs(frameSource(bytes))) continue;
      const { source, records } = readFrame(bytes);
      for (const record of records) {
        if (record.kind !== "visitor" || index.isDecided(source, record.shard, record.n)) continue;
        visitors.push({ record, end: next });
      }
    }
    yield visitors;
  }
}
