import type { SourceState } from "../ports/ledger.ts";
import type { Position } from "../ports/log.ts";

/** Of a frame, what names its records. */
export interface NumberedFrame {
  source: string;
  records: readonly { shard: number; n: number }[];
}

/** By shard: a number. Many small uploads have few shards each. */
type Numbers = Map<number, number>;

/** A stretch of the outbox, and the highest numbers in it. */
interface Stretch {
  end: Position;
  bytes: number;
  last: Map<string, Numbers>;
}

/** Some 20 KiB of numbers for each so many bytes of outbox: what an outage of days leaves behind costs little memory. */
const STRETCH_BYTES = 1024 * 1024;

/**
 * Which part of the outbox the ledger has: all in front of `applied`. Kept by stretches, so it is a little behind.
 */
export class OutboxIndex {
  readonly #stretches: Stretch[] = [];
  #isOpen = false;
  /** What the ledger has decided, by source and shard. */
  readonly #decided = new Map<string, Numbers>();
  applied: Position;

  constructor(start: Position) {
    this.applied = start;
  }

  /** A frame that ends at `end`. */
  add(frame: NumberedFrame, end: Position, bytes: number): void {
    let stretch = this.#stretches.at(-1);
    if (!stretch || !this.#isOpen || stretch.bytes > STRETCH_BYTES) {
      stretch = { end, bytes: 0, last: new Map() };
      this.#stretches.push(stretch);
      this.#isOpen = true;
    }
    stretch.end = end;
    stretch.bytes += bytes;
    const last = numbersOf(stretch.last, frame.source);
    for (const { shard, n } of frame.records) if (n > (last.get(shard) ?? 0)) last.set(shard, n);
  }

  /** The sources that the ledger may lack something of. */
  sources(): string[] {
    return [...new Set(this.#stretches.flatMap(({ last }) => [...last.keys()]))];
  }

  /** What the ledger says of them; the stretch that is being written is closed, so that it can go with the next call. */
  take(states: readonly SourceState[]): void {
    for (const { source, shard, last } of states) {
      const numbers = numbersOf(this.#decided, source);
      if (last > (numbers.get(shard) ?? 0)) numbers.set(shard, last);
    }
    this.#isOpen = false;
    for (let first = this.#stretches[0]; first && this.#hasAll(first); first = this.#stretches[0]) {
      this.applied = first.end;
      this.#stretches.shift();
    }
    const live = new Set(this.sources());
    for (const source of this.#decided.keys()) if (!live.has(source)) this.#decided.delete(source);
  }

  /** Where a frame begins behind which all is that the ledger lacks, or about the last `bytes` of it. */
  tail(bytes: number): Position {
    let left = this.#stretches.reduce((sum, stretch) => sum + stretch.bytes, 0);
    let from = this.applied;
    for (const stretch of this.#stretches) {
      if (left <= bytes) break;
      left -= stretch.bytes;
      from = stretch.end;
    }
    return from;
  }

  isDecided(source: string, shard: number, n: number): boolean {
    return n <= (this.#decided.get(source)?.get(shard) ?? 0);
  }

  /** The shards of which the ledger lacks something. */
  shards(): number[] {
    const shards = new Set<number>();
    for (const { last } of this.#stretches) {
      for (const [source, numbers] of last) {
        for (const [shard, n] of numbers) if (!this.isDecided(source, shard, n)) shards.add(shard);
      }
    }
    return [...shards];
  }

  #hasAll({ last }: Stretch): boolean {
    for (const [source, numbers] of last) {
      for (const [shard, n] of numbers) if (!this.isDecided(source, shard, n)) return false;
    }
    return true;
  }
}

function numbersOf(map: Map<string, Numbers>, source: string): Numbers {
  let numbers = map.get(source);
  if (!numbers) {
    numbers = new Map();
    map.set(source, numbers);
  }
  return numbers;
}
