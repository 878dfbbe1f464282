import { grown, kept } from "./subjects.ts";

/**
 * What a window knows too little of, once more subjects changed in it than it may follow. By subject:
 *
 * - `out`: 1 where its changes were dropped, so that it is not in the lists; its next change brings it back;
 * - `doubt`: by how much its sum may be off, as something may have been dropped before it came (back);
 * - `since`: the step in which it came. Changes of earlier steps are not in its sum, and are not taken off it when these leave
 *   the window. `sinceSum` is what of that step itself is in the sum. When the step leaves, the sum is right again.
 */
interface Gaps {
  out: Uint8Array;
  /** Rounded up. */
  doubt: Float32Array;
  /** These two are empty in a window that nothing leaves: there the doubt stays. */
  since: Uint32Array;
  sinceSum: Float64Array;
}

/**
 * The sums of one metric in one window.
 *
 * A subject that is out changed since at most by what was known of it when it was dropped: any change brings it back. So
 * `bound`, the highest that was dropped within the window (its own doubt included), is by how much a subject that is not
 * followed can be off, and what it begins with when it comes back. A drop is forgotten when its step leaves the window, as all
 * that was dropped has left it by then.
 */
export class Sums {
  values: Float64Array;
  readonly #stepS: number;
  #gaps: Gaps | null = null;
  /** The highest bound dropped in each step, by the step. */
  readonly #drops = new Map<number, number>();
  #bound = 0;
  /** The subjects there are; behind them all is 0, and its memory untouched. */
  #size = 0;
  /** The highest doubt of those that came in each step. */
  readonly #doubts = new Map<number, number>();

  /** `stepS` 0: a window that nothing leaves. */
  constructor(stepS: number, capacity: number) {
    this.#stepS = stepS;
    this.values = new Float64Array(capacity);
  }

  grow(capacity: number): void {
    this.values = grown(this.values, capacity);
    if (this.#gaps === null) return;
    const { out, doubt, since, sinceSum } = this.#gaps;
    this.#gaps = {
      out: grown(out, capacity),
      doubt: grown(doubt, capacity),
      since: this.#stepS === 0 ? since : grown(since, capacity),
      sinceSum: this.#stepS === 0 ? sinceSum : grown(sinceSum, capacity),
    };
  }

  /** By how much any value may be off, followed or not. */
  get error(): number {
    return Math.max(this.#bound, ...this.#doubts.values());
  }

  isOut(subject: number): boolean {
    return this.#gaps !== null && this.#gaps.out[subject] === 1;
  }

  /** A subject that was not known before, the last one now. */
  enter(subject: number, runningStep: number): void {
    this.#size = subject + 1;
    if (this.#bound > 0) this.#comeIn(this.#makeGaps(), subject, runningStep);
  }

  /** `step`: in which it happened, and `runningStep` runs; both are this window's. */
  add(subject: number, amount: number, step: number, runningStep: number): void {
    const gaps = this.#gaps;
    if (gaps !== null) {
      if (gaps.out[subject] === 1) this.#comeIn(gaps, subject, runningStep);
      // Both are undefined in a window that nothing leaves.
      if (gaps.since[subject] === step) gaps.sinceSum[subject] = (gaps.sinceSum[subject] as number) + amount;
      else if (step < (gaps.since[subject] as number)) {
        // Late, for a step that is not taken off any more: it stands with the doubt.
        this.#setDoubt(gaps, subject, (gaps.doubt[subject] as number) + Math.abs(amount));
        return;
      }
    }
    this.values[subject] = (this.values[subject] as number) + amount;
  }

  /** A sum as it is, whatever was dropped. */
  know(subject: number, value: number): void {
    this.values[subject] = value;
    if (this.#gaps === null) return;
    this.#gaps.out[subject] = 0;
    this.#gaps.doubt[subject] = 0;
  }

  /**
   * What one subject has is another one's, or nobody's (-1): the steps that leave know of it. Where either is not whole, the
   * other begins anew with all of it in doubt.
   */
  become(subject: number, other: number, runningStep: number): void {
    const value = this.values[subject] as number;
    const gaps = this.#gaps;
    this.values[subject] = 0;
    if (gaps === null) {
      if (other >= 0) this.values[other] = (this.values[other] as number) + value;
      return;
    }
    const isWhole = (it: number) => gaps.out[it] === 0 && (gaps.since[it] ?? 0) === 0 && gaps.doubt[it] === 0;
    if (other >= 0 && isWhole(subject) && isWhole(other)) {
      this.values[other] = (this.values[other] as number) + value;
    } else if (other >= 0) {
      const doubt = Math.abs(value) + Math.abs(this.values[other] as number);
      const known = (gaps.doubt[subject] as number) + (gaps.doubt[other] as number);
      this.values[other] = 0;
      this.#comeIn(gaps, other, runningStep);
      this.#setDoubt(gaps, other, doubt + known + 2 * this.#bound);
    }
    gaps.out[subject] = 0;
    gaps.doubt[subject] = 0;
    gaps.since[subject] = 0;
    gaps.sinceSum[subject] = 0;
  }

  /** A change of a step that leaves the window. */
  leave(subject: number, amount: number, step: number): void {
    const gaps = this.#gaps;
    if (gaps !== null && (gaps.out[subject] === 1 || step <= (gaps.since[subject] as number))) return;
    this.values[subject] = (this.values[subject] as number) - amount;
  }

  /** All of a step has left. */
  left(step: number): void {
    const gaps = this.#gaps;
    if (gaps === null) return;
    for (let subject = 0; subject < this.#size; subject++) {
      if (gaps.since[subject] !== step) continue;
      this.values[subject] = (this.values[subject] as number) - (gaps.sinceSum[subject] as number);
      gaps.since[subject] = 0;
      gaps.sinceSum[subject] = 0;
      gaps.doubt[subject] = 0;
    }
    this.#doubts.delete(step);
    if (this.#drops.delete(step)) this.#bound = Math.max(0, ...this.#drops.values());
  }

  /** `negative`: what its negative changes add up to at most, as what is left of it may be more than all of it. */
  drop(subject: number, negative: number, runningStep: number): void {
    const gaps = this.#makeGaps();
    const dropped = Math.abs(this.values[subject] as number) + negative + (gaps.doubt[subject] as number);
    gaps.out[subject] = 1;
    gaps.doubt[subject] = 0;
    gaps.since[subject] = 0;
    gaps.sinceSum[subject] = 0;
    this.values[subject] = 0;
    const step = this.#stepS === 0 ? 0 : runningStep;
    this.#drops.set(step, Math.max(this.#drops.get(step) ?? 0, dropped));
    this.#bound = Math.max(this.#bound, dropped);
  }

  /** Only these subjects, under new numbers. */
  keep(subjects: Uint32Array): void {
    kept(this.values, subjects, this.#size);
    if (this.#gaps !== null) for (const column of Object.values(this.#gaps)) kept(column, subjects, this.#size);
    this.#size = subjects.length;
  }

  /** All numbers times a factor. */
  scale(factor: number): void {
    for (let i = 0; i < this.#size; i++) this.values[i] = (this.values[i] as number) * factor;
    for (const [step, bound] of this.#drops) this.#drops.set(step, bound * factor);
    for (const [step, doubt] of this.#doubts) this.#doubts.set(step, doubt * factor);
    this.#bound *= factor;
    if (this.#gaps === null) return;
    const { doubt } = this.#gaps;
    for (let i = 0; i < this.#size; i++) doubt[i] = roundedUp((doubt[i] as number) * factor);
  }

  #comeIn(gaps: Gaps, subject: number, runningStep: number): void {
    gaps.out[subject] = 0;
    gaps.since[subject] = runningStep;
    gaps.sinceSum[subject] = 0;
    this.#setDoubt(gaps, subject, this.#bound);
  }

  #setDoubt(gaps: Gaps, subject: number, doubt: number): void {
    gaps.doubt[subject] = roundedUp(doubt);
    const since = gaps.since[subject] ?? 0;
    this.#doubts.set(since, Math.max(this.#doubts.get(since) ?? 0, doubt));
  }

  #makeGaps(): Gaps {
    const length = this.values.length;
    const steps = this.#stepS === 0 ? 0 : length;
    this.#gaps ??= {
      out: new Uint8Array(length),
      doubt: new Float32Array(length),
      since: new Uint32Array(steps),
      sinceSum: new Float64Array(steps),
    };
    return this.#gaps;
  }
}

/** To a number that takes four bytes. */
function roundedUp(value: number): number {
  const rounded = Math.fround(value);
  return rounded >= value ? rounded : Math.fround(value * (1 + 2 ** -23));
}
