import type { Subject } from "../model.ts";

/** So many changes may come between two looks of a stream's thread; of more it tells the sum as if it were of now. */
const ENTRIES = 65_536;
/** Words of the head: the writer's sequence, odd while it changes something, and how many entries there were ever. */
const SEQUENCE = 0;
const WRITTEN = 1;
const HEAD_BYTES = 8;

/**
 * What acts of another time change, told by the one thread that changes it to those that send streams: they must not tell
 * that a count has moved now when what moved it was years ago. A ring in shared memory with one writer (a seqlock):
 *
 *     writer   sequence odd → entry → the count itself → sequence even
 *     reader   sequence even? → entries since the last look → counts → sequence still the same?
 *
 * A reader that finds the same even sequence before and after has read counts that hold exactly the entries it has seen.
 */
export class PastChanges {
  readonly #head: Int32Array;
  readonly #entries: Float64Array;
  #read: number;

  static allocate(): SharedArrayBuffer {
    return new SharedArrayBuffer(HEAD_BYTES + ENTRIES * 16);
  }

  constructor(memory: SharedArrayBuffer) {
    this.#head = new Int32Array(memory, 0, 2);
    this.#entries = new Float64Array(memory, HEAD_BYTES);
    this.#read = Atomics.load(this.#head, WRITTEN);
  }

  /** Names a count in the ring: 53 bits, so that of a million followed counts two are the same once in 18,000 servers. */
  static keyOf(metric: number, subject: Subject): number {
    return Number(Bun.hash.xxHash64(subject, BigInt(metric)) >> 11n);
  }

  /** The writer: `change` moves the count by `delta`. */
  tell(metric: number, subject: Subject, delta: number, change: () => void): void {
    Atomics.add(this.#head, SEQUENCE, 1);
    const written = Atomics.load(this.#head, WRITTEN);
    const at = 2 * ((written >>> 0) % ENTRIES);
    this.#entries[at] = PastChanges.keyOf(metric, subject);
    this.#entries[at + 1] = delta;
    Atomics.store(this.#head, WRITTEN, (written + 1) | 0);
    change();
    Atomics.add(this.#head, SEQUENCE, 1);
  }

  /** A reader: what was told since its last look; the sequence to compare with `isStill`. */
  look(each: (key: number, delta: number) => void): number {
    const sequence = Atomics.load(this.#head, SEQUENCE);
    const written = Atomics.load(this.#head, WRITTEN);
    const news: [number, number][] = [];
    if ((written - this.#read) >>> 0 <= ENTRIES) {
      for (let i = this.#read; i !== written; i = (i + 1) | 0) {
        const at = 2 * ((i >>> 0) % ENTRIES);
        news.push([this.#entries[at] as number, this.#entries[at + 1] as number]);
      }
      // Written over while we read: as if there had been too many.
      const isWhole = (Atomics.load(this.#head, WRITTEN) - this.#read) >>> 0 <= ENTRIES;
      if (isWhole) for (const [key, delta] of news) each(key, delta);
    }
    this.#read = written;
    return sequence;
  }

  /** Whether nothing was changed since that look, nor was being changed then. */
  isStill(sequence: number): boolean {
    return (sequence & 1) === 0 && Atomics.load(this.#head, SEQUENCE) === sequence;
  }
}
