import { SHARDS } from "../arithmetic/shard.ts";
import { shardOf } from "../arithmetic/shard-of.ts";
import { FrameWriter, NO_SLOT, type RelationRecord, type TallyRecord, type VisitorRecord } from "../records.ts";
import type { ImportEvent } from "./event.ts";
import { UNKNOWN_HOUR_S } from "./steps.ts";

/** A frame is some milliseconds of the log's writer: acts wait for no longer. */
const FRAME_RECORDS = 1_000;
const FRAME_BYTES = 256 * 1024;

type Unnumbered = Omit<RelationRecord, "n"> | Omit<TallyRecord, "n"> | Omit<VisitorRecord, "n">;

export interface PackedFrame {
  partition: number;
  bytes: Uint8Array;
}

/**
 * Events as numbered records of one source. Numbers follow from the events' order alone, so who reads the same input again gives
 * each record the number it had before, and what was taken then is left out. Of a tally what was added comes first: a line
 * that is cut by a frame's end, and whose rest never comes, leaves no count below 0.
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
    const add = (record: Unnumbered): void => {
      const n = this.#next(shard);
      if (n === 0) return;
      isKnown = false;
      frame.add({ ...record, n });
      if (frame.count >= FRAME_RECORDS || frame.size >= FRAME_BYTES) full(this.#take(partition));
    };
    const named = { shard, metric: metric.id, subject, once: undefined, past: true };
    const tally = (at: number, amount: number) =>
      add({ kind: "tally", ...named, amount, atMs: at * 1000, slot: NO_SLOT, notedAfter: 0 });
    if (actor !== "") add({ kind: "relation", ...named, actor, stamp });
    for (const [at, amount] of steps) if (amount > 0) tally(at, amount);
    for (const [at, amount] of steps) if (amount < 0) tally(at, amount);
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
