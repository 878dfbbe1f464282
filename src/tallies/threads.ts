import { fence } from "../lib/fence.ts";
import { THREADS_MAX } from "./layout.ts";

/** Words of the control block, 64 bytes apart where several threads write. */
export const EPOCH = 0;
export const FREE = 16;
export const FRESH = 32;
export const ALLOCATED = 48;
export const LIVE_COUNT = 64;
export const USED_SLOTS = 80;
export const PRESSURE = 96;
export const WANT_CHUNK = 97;
export const DEPARTURES = 98;
const THREADS = 112;
const THREAD_WORDS = 16;
const HOLDING = 1;
export const CONTROL_WORDS = THREADS + THREADS_MAX * THREAD_WORDS;

/**
 * Who may still hold a slot number. A thread publishes the epoch when it enters and 0 when it leaves; main changes
 * something, then advances the epoch, and knows that nobody works with what was before once every thread is out or in
 * the new epoch.
 *
 *   thread: store active = EPOCH        →  looks at the table
 *   main:   changes the table  →  EPOCH + 1  →  looks at active
 *
 * The stores and main's looks are sequentially consistent: if main saw 0, the thread's store and so its looks came later and see
 * the change. If the thread stored an epoch that is already old, main only waits for longer than it had to.
 */
export class Threads {
  private readonly control: Int32Array;
  private readonly mine: number;

  constructor(control: Int32Array, thread: number) {
    if (!Number.isInteger(thread) || thread < 0 || thread >= THREADS_MAX) throw new RangeError(`no thread ${thread}`);
    this.control = control;
    this.mine = THREADS + thread * THREAD_WORDS;
  }

  enter(): void {
    Atomics.store(this.control, this.mine, this.control[EPOCH] as number);
    fence();
  }

  leave(): void {
    Atomics.store(this.control, this.mine, 0);
  }

  /** Which slot this thread is about to own, for the one who cleans up after it; -1 for none. */
  hold(slot: number): void {
    Atomics.store(this.control, this.mine + HOLDING, slot + 1);
  }

  /** Main only: a new epoch, to be given to `quiet`. */
  advance(): number {
    let epoch = (Atomics.load(this.control, EPOCH) + 1) | 0;
    if (epoch === 0) epoch = 1;
    Atomics.store(this.control, EPOCH, epoch);
    return epoch;
  }

  /** Main only: whether all who were in before `epoch` are out. */
  quiet(epoch: number): boolean {
    for (let at = THREADS; at < CONTROL_WORDS; at += THREAD_WORDS) {
      const active = Atomics.load(this.control, at);
      if (active !== 0 && ((active - epoch) | 0) < 0) return false;
    }
    return true;
  }

  /** Main only: the thread is dead. The slot it may have owned, or -1. */
  gone(thread: number): number {
    const at = THREADS + thread * THREAD_WORDS;
    const held = Atomics.exchange(this.control, at + HOLDING, 0) - 1;
    Atomics.store(this.control, at, 0);
    return held;
  }
}
