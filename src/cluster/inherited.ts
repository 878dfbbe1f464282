import { type Time, timeOf } from "../arithmetic/stamp.ts";
import type { LogReader } from "../ports/log.ts";
import { readFrame } from "../records.ts";
import { ActKeys } from "./act-keys.ts";
import type { HiddenActs } from "./hidden-acts.ts";
import type { Notes } from "./notes.ts";
import type { OutboxIndex } from "./outbox-index.ts";

const READ_BYTES = 4 * 1024 * 1024;

/** Takes in what an earlier run left in the outbox; the time of its newest stamp, and its keys. */
export function inheritOutbox(
  outbox: LogReader,
  { index, notes, hidden }: { index: OutboxIndex; notes: Notes; hidden: HiddenActs },
): { time: Time; keys: ActKeys } {
  const keys = new ActKeys();
  let time = 0;
  for (let at = outbox.start(); ; ) {
    const frames = outbox.read(at, READ_BYTES);
    for (const { bytes, next } of frames) {
      const frame = readFrame(bytes);
      index.add(frame, next, bytes.length);
      notes.inherit(frame.records);
      hidden.inherit(frame.records);
      keys.inherit(frame.records);
      for (const each of frame.records) if (each.kind === "relation") time = Math.max(time, timeOf(each.stamp));
      at = next;
    }
    if (frames.length === 0) return { time, keys };
  }
}
