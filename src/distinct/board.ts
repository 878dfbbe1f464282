import type { Sketches } from "./sketches.ts";

const EPOCH = 0;
const KIB = 1;

/** What the sketches' owner tells the other threads: two words of shared memory. */
export class SketchBoard {
  readonly #words: Int32Array;

  constructor(share: SharedArrayBuffer) {
    this.#words = new Int32Array(share);
  }

  static allocate(): SharedArrayBuffer {
    return new SharedArrayBuffer(8);
  }

  /** Rises when sketches were emptied: what request threads know of visitors does not hold any more. */
  get epoch(): number {
    return Atomics.load(this.#words, EPOCH);
  }

  beginEpoch(): void {
    Atomics.add(this.#words, EPOCH, 1);
  }

  /** What the sketches in memory take, for the metrics. */
  get bytes(): number {
    return Atomics.load(this.#words, KIB) * 1024;
  }

  tell({ bytes }: Sketches): void {
    Atomics.store(this.#words, KIB, Math.ceil(bytes / 1024));
  }
}
