import { SHARDS } from "../arithmetic/shard.ts";
import { shardOf } from "../arithmetic/shard-of.ts";
import { FrameWriter, NO_SLOT, type RelationRecord, type TallyRecord, type VisitorRecord } from "../records.ts";
import type { ImportEvent } from "./event.ts";
import { UNKNOWN_HOUR_S } from "./steps.ts";

/** A frame is some milliseconds of the log's writer: acts wait for no longer. */
const FRAME_RECORDS = 1_000;
const FRAME_BYTES = 256 * 1024;

type Step = readonly [at: number, amount: number];
type Unnumbered = Omit<RelationRecord, "n"> | Omit<TallyRecord, "n"> | Omit<VisitorRecord, "n">;

export interface PackedFrame {
  partition: number;
  bytes: Uint8Array;
}

/**
 * Events as numbered records of one source. Numbers follow from the events' order alone, so who reads the same input again gives
 * each record the number it had before, and what was taken then is left out. What a tally lost in one hour stands in one frame
 * with as much of what it had gained in others: whatever comes between two frames of a line, a set or an erasure, and where the
 * rest never comes, no count falls below 0.
 */
export class Packer {
  readonly #last: readonly number[];
  readonly #n = new Float64Array(SHARDS);
  readonly #source: string;
  readonly #frames: FrameWriter[];
  /** Lines of which every record had been taken before. */
  known = 0;

  /** `last`: the last number taken of each shard. */
  constructor({ source, partitions, last }: { source: string; partitions: number; last: readonly number[] }) {
    this.#source = source;
    this.#last = last;
    this.#frames = Array.from({ length: partitions }, () => new FrameWriter());
    for (const frame of this.#frames) frame.begin(source);
  }

  /** Gives the frames that are full with it, mostly none. */
  add(event: ImportEvent, full: (frame: PackedFrame) => void): void {
    const { metric, subject, actor, stamp, steps, visitors = [] } = event;
    const shard = shardOf(subject);
    const partition = shard % this.#frames.length;
    const frame = this.#frames[partition] as FrameWriter;
    let isKnown = actor !== "" || steps.length + visitors.length > 0;
    const add = (...together: Unnumbered[]): void => {
      for (const record of together) {
        const n = this.#next(shard);
        if (n === 0) continue;
        isKnown = false;
        frame.add({ ...record, n });
      }
      if (frame.count >= FRAME_RECORDS || frame.size >= FRAME_BYTES) full(this.#take(partition));
    };
    const named = { shard, metric: metric.id, subject, once: undefined, past: true };
    const tally = ([at, amount]: Step): Omit<TallyRecord, "n"> => {
      return { kind: "tally", ...named, amount, atMs: at * 1000, slot: NO_SLOT, notedAfter: 0 };
    };
    if (actor !== "") add({ kind: "relation", ...named, actor, stamp });
    for (const together of balanced(steps)) add(...together.map(tally));
    // Of no day: they were there once.
    for (const code of visitors) add({ kind: "visitor", ...named, code, atMs: UNKNOWN_HOUR_S * 1000 });
    if (isKnown) this.known++;
  }

  /** What is left. */
  *rest(): Generator<PackedFrame> {
    for (const [partition, { count }] of this.#frames.entries()) if (count > 0) yield this.#take(partition);
  }

  /** The record's number, 0 where it was taken before. */
  #next(shard: number): number {
    const n = (this.#n[shard] as number) + 1;
    this.#n[shard] = n;
    return n > (this.#last[shard] ?? 0) ? n : 0;
  }

  #take(partition: number): PackedFrame {
    const frame = this.#frames[partition] as FrameWriter;
    const bytes = Uint8Array.from(frame.finish());
    frame.begin(this.#source);
    return { partition, bytes };
  }
}

/** The same amounts, each fall with as much of a rise as it takes back; what is left over of the rises comes last. */
function* balanced(steps: readonly Step[]): Generator<Step[]> {
  const rises = steps.filter(([, amount]) => amount > 0);
  let next = 0;
  let left = rises[0]?.[1] ?? 0;
  for (const [at, amount] of steps) {
    for (let fall = Math.max(0, -amount); fall > 0; ) {
      const rise = rises[next];
      // The reader refuses a line whose sum is below 0.
      if (!rise) throw new Error(`the amounts of a line come to less than 0 at ${at}`);
      const by = Math.min(left, fall);
      yield [
        [rise[0], by],
        [at, -by],
      ];
      fall -= by;
      left -= by;
      if (left === 0) left = rises[++next]?.[1] ?? 0;
    }
  }
  if (left > 0) yield [[(rises[next] as Step)[0], left]];
  for (const rise of rises.slice(next + 1)) yield [rise];
}
