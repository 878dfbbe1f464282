/**
 * Which counters were used since the sweep that chooses who leaves came by: a bit each. Not in the counter file, where each
 * first use after a sweep would dirty a page. A set that is lost costs a reload at worst.
 */
export class Touched {
  private readonly bits: Int32Array;

  constructor(memory: SharedArrayBuffer) {
    this.bits = new Int32Array(memory);
  }

  static bytes(slots: number): number {
    return 4 * Math.ceil(slots / 32);
  }

  mark(slot: number): void {
    const word = slot >>> 5;
    const bit = 1 << (slot & 31);
    if (((this.bits[word] as number) & bit) === 0) Atomics.or(this.bits, word, bit);
  }

  /** Whether it was used, and not any more. */
  take(slot: number): boolean {
    const bit = 1 << (slot & 31);
    return (Atomics.and(this.bits, slot >>> 5, ~bit) & bit) !== 0;
  }
}
