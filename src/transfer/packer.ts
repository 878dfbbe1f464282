import { SHARDS, shardOfSubject } from "../arithmetic/shard.ts";
import { encodeUtf8 } from "../lib/utf8.ts";
import { SUBJECT_SCRATCH_BYTES } from "../limits.ts";
import { FrameWriter, NO_SLOT } from "../records.ts";
import type { ImportEvent } from "./event.ts";

/** A frame is some milliseconds of the log's writer: acts wait for no longer. */
const FRAME_RECORDS = 1_000;
const FRAME_BYTES = 256 * 1024;

export interface PackedFrame {
  partition: number;
  bytes: Uint8Array;
}

/**
 * Events as numbered records of one source. Numbers follow from the events' order alone, so who reads the same input again gives
 * each record the number it had before, and what was taken then is left out. A line's records stand in one frame, which is
 * taken whole or not at all.
 */
export class Packer {
  readonly #last: readonly number[];
  readonly #n = new Float64Array(SHARDS);
  readonly #source: string;
  readonly #frames: FrameWriter[];
  readonly #scratch = new Uint8Array(SUBJECT_SCRATCH_BYTES);
  /** Lines of which every record had been taken before. */
  known = 0;

  /** `last`: the last number taken of each shard. */
  constructor({ source, partitions, last }: { source: string; partitions: number; last: readonly number[] }) {
    this.#source = source;
    this.#last = last;
    this.#frames = Array.from({ length: partitions }, () => new FrameWriter());
    for (const frame of this.#frames) frame.begin(source);
  }

  /** The frame that is full with it, if one is. Its bytes are its own until the next call. */
  add(event: ImportEvent): PackedFrame | null {
    const { metric, subject, actor, stamp, steps } = event;
    const shard = shardOfSubject(this.#scratch, encodeUtf8(subject, this.#scratch, 0));
    const partition = shard % this.#frames.length;
    const frame = this.#frames[partition] as FrameWriter;
    const before = frame.count;
    const named = { shard, metric: metric.id, subject, once: undefined };
    if (actor !== "") {
      const n = this.#next(shard);
      if (n > 0) frame.add({ kind: "relation", ...named, n, actor, stamp });
    }
    for (const [at, amount] of steps) {
      const n = this.#next(shard);
      if (n > 0) frame.add({ kind: "tally", ...named, n, amount, atMs: at * 1000, slot: NO_SLOT, notedAfter: 0 });
    }
    if (frame.count === before && (actor !== "" || steps.length > 0)) this.known++;
    return frame.count >= FRAME_RECORDS || frame.size >= FRAME_BYTES ? this.#take(partition) : null;
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
