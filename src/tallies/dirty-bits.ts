import { fence } from "../lib/fence.ts";
import { SlotBits } from "./slot-bits.ts";

/**
 * Which slots were added to since the flusher last looked: a bit each.
 *
 *   worker:  ADDS += by          →  look at the bit, set it if it is not
 *   flusher: bits ↔ 0 (exchange) →  read ADDS
 *
 * If the worker saw the bit set, the exchange came later and so did the reading: it includes the add. If the worker saw
 * it clear, it sets it, and the next flush looks. Adding after the look would lose the add to both.
 */
export class DirtyBits extends SlotBits {
  /** All below slot `end`. */
  markAll(end: number): void {
    for (let word = 0; word < (end + 31) >>> 5; word++) Atomics.store(this.bits, word, -1);
  }

  /** Clears and visits what is set below slot `end`; the visitor may mark again. 20 million clear bits take 2.5 ms. */
  take(end: number, visit: (slot: number) => void): void {
    const words = (end + 31) >>> 5;
    fence();
    for (let word = 0; word < words; word++) {
      if (this.bits[word] === 0) continue;
      let left = Atomics.exchange(this.bits, word, 0);
      while (left !== 0) {
        const bit = left & -left;
        left ^= bit;
        visit(word * 32 + 31 - Math.clz32(bit));
      }
    }
  }
}
