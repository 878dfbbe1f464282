import { fence } from "../lib/fence.ts";
import { COUNT_MAX } from "../model.ts";
import {
  ADDS,
  HEADER_WORDS,
  HIGH,
  LEAVING,
  LOADED,
  LOW,
  MARK,
  META,
  markBits,
  markOf,
  NOTED,
  OWNER,
  OWNER_SHIFT,
  SLOT_WORDS,
  TALLY_WORDS,
  talliesAt,
} from "./layout.ts";
import type { Newcomers } from "./newcomers.ts";
import type { Threads } from "./threads.ts";

/** add() added nothing: the flusher is 2^31 behind. Ask for a flush and try again. */
export const OWING_TOO_MUCH = -1;
/** add() added nothing: the count would pass 2^53 - 1. */
export const TOO_HIGH = -2;

const WORD = 2 ** 32;
/** 2^27 below the sign: room for one add of a million from each of 64 threads that all looked before any added. */
const DISTANCE_MAX = 2 ** 31 - 2 ** 27;
const REBASE_AT = 2 ** 30;
const SPINS = 2_000;

/**
 * The numbers of a slot and of its tally. A counter's value is base + (ADDS - mark): ADDS only grows, modulo 2^32, also from
 * one owner of the slot to the next (so that a note in the log that says "slot 7 up to 1,000" never means a later counter).
 * The base (LOW and HIGH, signed) is what the value was when ADDS stood at the mark.
 */
export class Slots {
  readonly words: Int32Array;
  readonly tallies: Int32Array;
  private readonly threads: Threads;
  private readonly owner: number;
  private readonly pause = new Int32Array(new SharedArrayBuffer(4));

  private readonly newcomers: Newcomers;

  constructor(
    buffer: ArrayBuffer,
    {
      slotsMax,
      thread,
      threads,
      newcomers,
    }: { slotsMax: number; thread: number; threads: Threads; newcomers: Newcomers },
  ) {
    this.newcomers = newcomers;
    this.words = new Int32Array(buffer);
    this.tallies = new Int32Array(buffer, talliesAt(slotsMax), slotsMax * TALLY_WORDS);
    this.threads = threads;
    this.owner = (thread + 1) << OWNER_SHIFT;
  }

  /* Plain reads, see fence(): whoever decides by them makes an atomic step before and behind. Nobody may wait for a change. */

  meta(slot: number): number {
    return this.words[wordOf(slot) + META] as number;
  }

  /** As they are in their words, modulo 2^32 and signed. */
  adds(slot: number): number {
    return this.tallies[slot * TALLY_WORDS + ADDS] as number;
  }

  noted(slot: number): number {
    return this.tallies[slot * TALLY_WORDS + NOTED] as number;
  }

  isLoaded(slot: number): boolean {
    return (this.meta(slot) & LOADED) !== 0;
  }

  isClean(slot: number): boolean {
    fence();
    return this.adds(slot) === this.noted(slot);
  }

  owed(slot: number): number {
    fence();
    return (this.adds(slot) - this.noted(slot)) >>> 0;
  }

  notedAfter(slot: number, amount: number): number {
    return (this.noted(slot) + amount) >>> 0;
  }

  /** META of a slot nobody owns. */
  private steady(at: number): number {
    const meta = this.words[at] as number;
    if ((meta & OWNER) === 0) return meta;
    for (let spins = 1; ; spins++) {
      const meta = Atomics.load(this.words, at);
      if ((meta & OWNER) === 0) return meta;
      if (spins % SPINS === 0) Atomics.wait(this.pause, 0, 0, 0.1);
    }
  }

  /**
   * The value at one instant. Reading it means reading four words that others change:
   *
   *   HIGH  LOW  ─fence─  META (nobody owns it)  ADDS  ─fence─  LOW  HIGH
   *
   * A base that adds rest on only grows, so where HIGH and then LOW are the same at both ends, the base stood still in
   * between; and as nobody owned META in there, the mark is the one that belongs to this base: base first, mark second,
   * both as one owner. (A counter of bits would not do: they go round while a thread is off the processor.)
   */
  shown(slot: number): number {
    const words = this.words;
    const at = wordOf(slot);
    for (;;) {
      const high = words[at + HIGH] as number;
      const low = words[at + LOW] as number;
      fence();
      const mark = markOf(this.steady(at));
      const adds = this.adds(slot);
      fence();
      if (words[at + LOW] === low && words[at + HIGH] === high) {
        return countOf(low, high) + ((adds - mark) | 0);
      }
    }
  }

  /**
   * What the log has of the counter: the value less what is owed, which adds do not move. Exact while no flush and no loader
   * is at the slot. Read as in shown(); a base that a set or an erasure moved down could only be taken for another one if it
   * came back to the very same number within these few loads.
   */
  logged(slot: number): number {
    const words = this.words;
    const at = wordOf(slot);
    for (;;) {
      const high = words[at + HIGH] as number;
      const low = words[at + LOW] as number;
      fence();
      const mark = markOf(this.steady(at));
      const noted = this.noted(slot);
      fence();
      if (words[at + LOW] === low && words[at + HIGH] === high) {
        return countOf(low, high) + ((noted - mark) | 0);
      }
    }
  }

  /**
   * Adds and returns the value with this very addition, or one of the two refusals. The addition stands where shown()
   * reads ADDS, and the three atomic steps where it has fences; if the base moved meanwhile, the value is read anew. A refusal may come of words that do not belong
   * together; the next try sees others.
   */
  add(slot: number, by: number): number {
    const { words, tallies } = this;
    const at = wordOf(slot);
    const tally = slot * TALLY_WORDS;
    const high = words[at + HIGH] as number;
    const low = words[at + LOW] as number;
    // Before ADDS, which it follows: read after it, NOTED may be past what ADDS was, and less than nothing looks like 2^32.
    const noted = Atomics.load(tallies, tally + NOTED);
    const mark = markOf(this.steady(at));
    const adds = Atomics.load(tallies, tally + ADDS);
    const above = (adds - mark) >>> 0;
    if (above >= DISTANCE_MAX || (adds - noted) >>> 0 >= DISTANCE_MAX) return OWING_TOO_MUCH;
    const base = countOf(low, high);
    if (base + above + by > COUNT_MAX) return TOO_HIGH;
    if (base + above === 0) this.newcomers.mark(slot);
    const before = Atomics.add(tallies, tally + ADDS, by);
    if (words[at + LOW] !== low || words[at + HIGH] !== high) {
      // The words may not have belonged together: nobody knows whether it was 0.
      this.newcomers.mark(slot);
      return this.shown(slot);
    }
    return base + ((before + by - mark) | 0);
  }

  /**
   * Sets the base of a slot that has none; false if another thread did. `tell` hears what ADDS is, which nobody moves before the
   * slot is loaded.
   */
  install(slot: number, count: number, tell?: (slot: number, adds: number) => void): boolean {
    const at = wordOf(slot);
    if ((this.steady(at) & LOADED) !== 0) return false;
    const meta = this.own(slot);
    const first = (meta & LOADED) === 0;
    if (first) this.setValue(slot, meta, count);
    if (first) tell?.(slot, this.adds(slot));
    this.release(at, first ? LOADED : 0);
    return first;
  }

  /** Makes the value `count`. For counters nobody adds to (relations). */
  setValueTo(slot: number, count: number): void {
    const at = wordOf(slot);
    const meta = this.own(slot);
    this.setValue(slot, meta, count);
    this.release(at, LOADED);
  }

  /**
   * Makes the value `count` and whatever was added since ADDS stood at `pushed`, if `may` (asked as the slot's only owner,
   * with how much the value would rise) allows it.
   */
  setValueAt(slot: number, { count, pushed }: { count: number; pushed: number }, may: (rise: number) => boolean): void {
    const at = wordOf(slot);
    const meta = this.own(slot);
    const base = count + ((markOf(meta) - pushed) | 0);
    if (may(base - this.base(at))) this.setBase(at, base);
    this.release(at, LOADED);
  }

  /** Moves the base, and with it the value, by `delta`; the new value. */
  moveBase(slot: number, delta: number): number {
    const at = wordOf(slot);
    const meta = this.own(slot);
    this.setBase(at, this.base(at) + delta);
    const value = this.base(at) + ((this.adds(slot) - markOf(meta)) | 0);
    this.release(at, 0);
    return value;
  }

  /** Flusher only: the log has the adds up to `notedAfter`. Here the mark follows ADDS, at least once in 2^31. */
  setNoted(slot: number, notedAfter: number): void {
    const words = this.words;
    const at = wordOf(slot);
    Atomics.store(this.tallies, slot * TALLY_WORDS + NOTED, notedAfter | 0);
    const mark = markOf(words[at] as number);
    if ((this.adds(slot) - mark) >>> 0 < REBASE_AT) return;
    this.own(slot);
    const steps = ((this.adds(slot) - mark) >>> 0) >>> 30;
    this.setBase(at, this.base(at) + steps * REBASE_AT);
    const moved = markBits((mark + steps * REBASE_AT) | 0);
    this.release(at, 0, moved);
  }

  /**
   * Main only: what a thread that died as a slot's owner left; whether it was a loaded one, whose base may be half written
   * now. Embedded only writer and main own loaded slots, and with them the process ends.
   */
  disown(slot: number, thread: number): boolean {
    const at = wordOf(slot);
    const meta = Atomics.load(this.words, at);
    if ((meta & OWNER) !== (thread + 1) << OWNER_SHIFT) return false;
    this.release(at, 0);
    return (meta & LOADED) !== 0;
  }

  /** Takes OWNER (and calls off a leaving: there is news). The other bits of META stay its holder's, except LEAVING. */
  private own(slot: number): number {
    const at = wordOf(slot);
    this.threads.hold(slot);
    for (;;) {
      const meta = this.steady(at);
      const owned = (meta & ~LEAVING) | this.owner;
      if (Atomics.compareExchange(this.words, at, meta, owned) === meta) return owned;
    }
  }

  private release(at: number, set: number, mark?: number): void {
    const words = this.words;
    for (;;) {
      const meta = words[at] as number;
      let after = (meta & ~OWNER) | set;
      if (mark !== undefined) after = (after & ~MARK) | mark;
      if (Atomics.compareExchange(words, at, meta, after) === meta) break;
    }
    this.threads.hold(-1);
  }

  private base(at: number): number {
    return countOf(this.words[at + LOW] as number, this.words[at + HIGH] as number);
  }

  private setValue(slot: number, meta: number, count: number): void {
    this.setBase(wordOf(slot), count - ((this.adds(slot) - markOf(meta)) | 0));
  }

  private setBase(at: number, base: number): void {
    Atomics.store(this.words, at + LOW, base | 0);
    Atomics.store(this.words, at + HIGH, Math.floor(base / WORD));
  }
}

export function wordOf(slot: number): number {
  return HEADER_WORDS + slot * SLOT_WORDS;
}

function countOf(low: number, high: number): number {
  return high * WORD + (low >>> 0);
}
