import type { SketchBoard } from "./board.ts";
import { type Code, rankOf, registerOf } from "./code.ts";

/** A visit as a request thread has it; `epoch`: of Known, when it was sent to the owner. */
export interface Visit {
  readonly metric: number;
  /** Since 1970. */
  readonly day: number;
  readonly subject: string;
  readonly code: Code;
  readonly epoch: number;
}

const PLACES = 2 ** 16;
const REGISTER = 0x80000000;
const RANK_MASK = 63;

/**
 * What a request thread remembers of visitors whom the sketches' owner has, so that it need not ask again: half a megabyte,
 * in which a newer one takes the place of an older one. Two kinds stand in it, by the hash of their names:
 *
 *     a visitor (metric, day, subject, code)         he has been here
 *     a register (metric, day, subject, register)    of dense sketches, with its rank: nobody below it changes anything,
 *                                                    so a page with a million visitors is soon asked about no more
 *
 * Of 58 bits of hash 16 are the place, so of 10^12 questions less than one is answered wrongly: a visitor too few in a sketch.
 */
export class Known {
  #words: Int32Array | null = null;
  readonly #seed = crypto.getRandomValues(new Int32Array(1))[0] as number;
  readonly #board: Pick<SketchBoard, "epoch">;
  readonly #lifeMs: number;
  readonly #now: () => number;
  #seenEpoch = 0;
  #bornMs = 0;
  #high = 0;
  #low = 0;
  #text = "";
  #textHigh = 0;
  #textLow = 0;

  /** `lifeMs`: after so long it forgets everybody, for where others may empty sketches and this board is not told. */
  constructor(board: Pick<SketchBoard, "epoch">, lifeMs = Number.POSITIVE_INFINITY, now = () => performance.now()) {
    this.#board = board;
    this.#lifeMs = lifeMs;
    this.#now = now;
  }

  /** What a visit is to be told before it goes to the owner: what was learnt before sketches were emptied is not noted. */
  get epoch(): number {
    return this.#board.epoch;
  }

  has(visit: Visit): boolean {
    const words = this.#fresh();
    this.#aim(visit, visit.code);
    if (this.#stored(words) >= 0) return true;
    this.#aim(visit, registerOf(visit.code) | REGISTER);
    return this.#stored(words) >= rankOf(visit.code);
  }

  /** The owner has him. `rank`: what the register is at least in both sketches, 0 where one is not dense. */
  note(visit: Visit, rank: number): undefined {
    const words = this.#fresh();
    if (visit.epoch !== this.#seenEpoch) return;
    const isBelow = rank >= rankOf(visit.code);
    this.#aim(visit, isBelow ? registerOf(visit.code) | REGISTER : visit.code);
    const at = this.#place();
    words[at] = this.#high;
    words[at + 1] = (this.#low & ~RANK_MASK) | rank;
  }

  /** What holds in this epoch. Threads that never ask have none. */
  #fresh(): Int32Array {
    const epoch = this.epoch;
    if (this.#words && epoch === this.#seenEpoch && this.#now() - this.#bornMs < this.#lifeMs) return this.#words;
    this.#seenEpoch = epoch;
    this.#bornMs = this.#now();
    this.#words = new Int32Array(2 * PLACES);
    return this.#words;
  }

  /** The rank that stands there, −1 where it is another's place. */
  #stored(words: Int32Array): number {
    const at = this.#place();
    const low = words[at + 1] as number;
    if (words[at] !== this.#high || ((low ^ this.#low) & ~RANK_MASK) !== 0) return -1;
    return low & RANK_MASK;
  }

  #place(): number {
    return 2 * ((this.#high ^ (this.#low >>> 11)) & (PLACES - 1));
  }

  /** Two hashes of 32 bits, as in cyrb53 (public domain), which is murmur's mixing of two lanes. */
  #aim({ metric, day, subject }: Visit, what: number): void {
    if (subject !== this.#text) this.#aimAt(subject);
    let high = Math.imul(this.#textHigh ^ what, 2654435761) ^ Math.imul(day, 0x85ebca6b);
    let low = Math.imul(this.#textLow ^ metric, 1597334677) ^ Math.imul(what ^ day, 0xc2b2ae35);
    high = Math.imul(high ^ (high >>> 16), 2246822507) ^ Math.imul(low ^ (low >>> 13), 3266489909);
    low = Math.imul(low ^ (low >>> 16), 2246822507) ^ Math.imul(high ^ (high >>> 13), 3266489909);
    this.#high = high | 0;
    this.#low = low | 0;
  }

  #aimAt(subject: string): void {
    let high = 0xdeadbeef ^ this.#seed;
    let low = 0x41c6ce57 ^ this.#seed;
    for (let i = 0; i < subject.length; i++) {
      const unit = subject.charCodeAt(i);
      high = Math.imul(high ^ unit, 2654435761);
      low = Math.imul(low ^ unit, 1597334677);
    }
    this.#text = subject;
    this.#textHigh = high;
    this.#textLow = low;
  }
}
