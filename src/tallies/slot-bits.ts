/** A bit for each slot, in shared memory. */
export class SlotBits {
  protected readonly bits: Int32Array;

  constructor(memory: SharedArrayBuffer) {
    this.bits = new Int32Array(memory);
  }

  static bytes(slots: number): number {
    return 4 * Math.ceil(slots / 32);
  }

  /** Looks first: most are set already, and to write takes the cache line from the other threads. */
  mark(slot: number): void {
    const word = slot >>> 5;
    const bit = 1 << (slot & 31);
    if (((this.bits[word] as number) & bit) === 0) Atomics.or(this.bits, word, bit);
  }
}
