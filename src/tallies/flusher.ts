import { SHARDS, shardOfSubject } from "../arithmetic/shard.ts";
import { fault } from "../lib/fault.ts";
import { NOTE_BYTES_MAX, NOTE_RECORDS_MAX } from "../limits.ts";
import type { Position } from "../ports/log.ts";
import { FrameWriter } from "../records.ts";
import type { CounterTable } from "./table.ts";

/** Appends one frame; resolves when it is durable, rejects when nothing of it was written. */
type AppendNote = (frame: Uint8Array) => Promise<Position>;

export interface FlushReport {
  counters: number;
  ms: number;
}

/**
 * Moves what workers have added from the table into the log, exactly once.
 *
 *     1. take the dirty slots          a crash here: the slots still owe (adds − noted), recovery finds them
 *     2. append a note, durable        a crash here: recovery reads the last note and does step 3 from it
 *     3. slot.noted = what was noted   a crash half way: the same, for all slots; done twice it is the same
 *     4. file.notedPosition            up to here the log's notes need not be looked at again; then the next note
 *
 * A note says for each slot what `noted` is after it, not by how much it rises, so step 3 may be repeated, and as `adds`
 * only grows, also from one owner of a slot to the next, the later of two marks is the right one. A note larger than a
 * frame may be is several notes. A note that the log refuses changes nothing: its slots are dirty again.
 */
export class Flusher {
  readonly #table: CounterTable;
  readonly #append: AppendNote;
  readonly #source: string;
  readonly #last = new Float64Array(SHARDS);
  readonly #frame = new FrameWriter();
  readonly #partitions: number;
  readonly #bytesMax: number;
  #running: Promise<unknown> | null = null;

  /** `partitions`: each note holds shards of one of them (shard modulo partitions) only. */
  constructor(parts: {
    table: CounterTable;
    append: AppendNote;
    source: string;
    partitions?: number;
    bytesMax?: number;
  }) {
    this.#table = parts.table;
    this.#append = parts.append;
    this.#source = parts.source;
    this.#partitions = parts.partitions ?? 1;
    this.#bytesMax = parts.bytesMax ?? NOTE_BYTES_MAX;
  }

  /** One flush at a time: a second call waits for the first and then flushes what has come since. `atMs`: when counted. */
  async flush(atMs: number): Promise<FlushReport> {
    return this.#alone(() => this.#flush(atMs));
  }

  /**
   * Notes these slots and then does `work`, with no other flush in between: what was added before the call is in the log,
   * and what `logged` says of the slots until `work` is done is what the log has.
   */
  around<T>(slots: () => number[], atMs: number, work: () => Promise<T>): Promise<T> {
    return this.#alone(async () => {
      for (const part of this.#divided(slots())) {
        for (let from = 0; from < part.length; ) from = await this.#note(part, from, atMs);
      }
      return work();
    });
  }

  async #alone<T>(work: () => Promise<T>): Promise<T> {
    while (this.#running) await this.#running.catch(() => undefined);
    const running = work();
    this.#running = running;
    try {
      return await running;
    } finally {
      this.#running = null;
    }
  }

  async #flush(atMs: number): Promise<FlushReport> {
    const began = performance.now();
    const dirty: number[] = [];
    this.#table.takeDirty((slot) => dirty.push(slot));
    const parts = this.#divided(dirty);
    for (let part = parts.pop(); part; part = parts.pop()) {
      for (let from = 0; from < part.length; ) {
        try {
          from = await this.#note(part, from, atMs);
        } catch (error) {
          for (const slot of [part.slice(from), ...parts].flat()) this.#table.markDirty(slot);
          throw error;
        }
      }
    }
    this.#table.flushedAtMs = Date.now();
    return { counters: dirty.length, ms: performance.now() - began };
  }

  /** By the partitions of their shards. */
  #divided(slots: number[]): number[][] {
    if (this.#partitions === 1) return [slots];
    const parts: number[][] = Array.from({ length: this.#partitions }, () => []);
    for (const slot of slots) {
      const { length } = this.#table.readKey(slot);
      parts[shardOfSubject(this.#table.keyBytes, length) % this.#partitions]?.push(slot);
    }
    return parts;
  }

  /** Notes as many slots as fit from `dirty[from]`; where the next note begins. */
  async #note(dirty: readonly number[], from: number, atMs: number): Promise<number> {
    const slots: number[] = [];
    const marks: number[] = [];
    const numbers = this.#last.slice();
    this.#frame.begin(this.#source);
    let at = from;
    while (at < dirty.length && this.#frame.count < NOTE_RECORDS_MAX && this.#frame.size < this.#bytesMax) {
      const slot = dirty[at++] as number;
      const amount = this.#table.owed(slot);
      if (amount === 0) continue;
      const notedAfter = this.#table.notedAfter(slot, amount);
      const { metric, length } = this.#table.readKey(slot);
      const subject = this.#table.keyBytes;
      const shard = shardOfSubject(subject, length);
      const n = (numbers[shard] as number) + 1;
      numbers[shard] = n;
      this.#frame.tally({ shard, n, metric }, { amount, atMs, slot, notedAfter }, subject, length);
      slots.push(slot);
      marks.push(notedAfter);
    }
    if (slots.length === 0) return at;
    fault("flusher.append");
    const end = await this.#append(this.#frame.finish());
    fault("flusher.appended");
    this.#last.set(numbers);
    for (let i = 0; i < slots.length; i++) {
      if (i === slots.length >> 1) fault("flusher.half-noted");
      this.#table.setNoted(slots[i] as number, marks[i] as number);
    }
    fault("flusher.noted");
    this.#table.notedPosition = end;
    fault("flusher.done");
    return at;
  }
}
