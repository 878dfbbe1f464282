import { SlotBits } from "./slot-bits.ts";

/**
 * Which counters were used since the sweep that chooses who leaves came by: a bit each. Not in the counter file, where each
 * first use after a sweep would dirty a page. A set that is lost costs a reload at worst.
 */
export class Touched extends SlotBits {
  /** Whether it was used, and not any more. */
  take(slot: number): boolean {
    const bit = 1 << (slot & 31);
    return (Atomics.and(this.bits, slot >>> 5, ~bit) & bit) !== 0;
  }
}
