import { ALLOCATED, FREE, FRESH, LIVE_COUNT, PRESSURE, USED_SLOTS, WANT_CHUNK } from "./threads.ts";

/**
 * Hands out slots: first those that came back (a stack through `next`), then fresh ones up to ALLOCATED, which main
 * moves on only after the disk has given the space.
 *
 * Pop reads the top and its next, then swaps the top by compare-and-swap. That this top was popped, used, given back
 * and is the top again with another next in between (ABA) cannot be: only main gives back, and only after all threads
 * that were in when the slot left have gone out. What a lost race leaves over stays with its thread.
 */
export class Pool {
  private readonly control: Int32Array;
  private readonly next: Int32Array;
  private readonly countersMax: number;
  private readonly slots: number;
  private readonly spares: number[] = [];

  constructor(control: Int32Array, next: Int32Array, countersMax: number, slots: number) {
    this.control = control;
    this.next = next;
    this.countersMax = countersMax;
    this.slots = slots;
  }

  /** Counts one more counter; false when there are as many as may be. */
  reserve(): boolean {
    if (Atomics.add(this.control, LIVE_COUNT, 1) < this.countersMax) return true;
    Atomics.sub(this.control, LIVE_COUNT, 1);
    Atomics.store(this.control, PRESSURE, 1);
    return false;
  }

  unreserve(): void {
    Atomics.sub(this.control, LIVE_COUNT, 1);
  }

  /** A slot that nobody else knows, or -1. */
  take(): number {
    const spare = this.spares.pop();
    if (spare !== undefined) return spare;
    const slot = this.pop();
    if (slot >= 0) Atomics.add(this.control, USED_SLOTS, 1);
    return slot;
  }

  /** Keeps for this thread what it took and did not publish. */
  keep(slot: number): void {
    this.spares.push(slot);
  }

  /** Main only, after quiescence: anybody may take the slot. */
  giveBack(slot: number): void {
    for (;;) {
      const top = Atomics.load(this.control, FREE);
      Atomics.store(this.next, slot, top);
      if (Atomics.compareExchange(this.control, FREE, top, slot + 1) === top) break;
    }
    Atomics.sub(this.control, USED_SLOTS, 1);
  }

  private pop(): number {
    const control = this.control;
    for (;;) {
      const top = Atomics.load(control, FREE);
      if (top === 0) break;
      if (Atomics.compareExchange(control, FREE, top, Atomics.load(this.next, top - 1)) === top) return top - 1;
    }
    for (;;) {
      const fresh = Atomics.load(control, FRESH);
      if (fresh >= this.slots) {
        Atomics.store(control, PRESSURE, 1);
        return -1;
      }
      if (fresh >= Atomics.load(control, ALLOCATED)) {
        Atomics.store(control, WANT_CHUNK, 1);
        return -1;
      }
      if (Atomics.compareExchange(control, FRESH, fresh, fresh + 1) === fresh) return fresh;
    }
  }
}
