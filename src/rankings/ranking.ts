import { ALL, HOT, HOUR_S, rangeOf, SLIDING, stepAt, WINDOWS } from "../arithmetic/windows.ts";
import { grown, kept, moreThan, SubjectIndex } from "./subjects.ts";
import { Sums } from "./sums.ts";

/** Beyond what may be followed by this share it is cut down to it: a cut costs a look at all. */
const SLACK = 1 / 8;
/**
 * Windows overlap, so together they follow hardly more subjects than one; where they do not, those that follow too many are cut
 * down to a share, from so many times what each may follow on.
 */
const SUBJECTS_MAX = 2;
const CROWDED_SHARE = 1 / 4;
/** Of what is looked through, until the next look: one at a time in a thread, and large arrays that are thrown away stay for long. */
const scratch = { subjects: new Uint32Array(0), values: new Float64Array(0) };
/** Doubles end at 2^1023: from here on the hot scores are made smaller, all by the same. */
const EXPONENT_MAX = 500;

export interface RankingOptions {
  /** Subjects that each window follows exactly. */
  candidates: number;
  halfLifeS: number;
}

interface RankedItem {
  subject: string;
  value: number;
}

export interface Ranked {
  items: RankedItem[];
  /** By how much a value may be off, 0 where all are right. */
  error: number;
}

/**
 * One metric in all windows: for each subject one sum in each.
 *
 * `hot` is forward decay (Cormode, Shkapenyuk, Srivastava, Xu: Forward Decay, 2009): a change at t weighs 2^((t − L) / half-life)
 * from a landmark L on. Weights never change then, so a score is a plain sum; what is shown is the sum times
 * 2^(−(now − L) / half-life). `now` is the running minute, so that it is the same number whoever works it out.
 */
export class Ranking {
  readonly #options: RankingOptions;
  readonly subjects: SubjectIndex;
  #capacity = 1024;
  readonly #sums: readonly Sums[];
  /** The minute of each subject's newest change. */
  #changed = new Uint32Array(1024);
  /** What each subject's negative changes add up to; made with the first one. */
  #negative: Float64Array | null = null;
  #landmark: number;
  /** The running minute, and by window where it begins and its running step. */
  #second = 0;
  readonly #from: number[] = [];
  readonly #running: number[] = [];
  #tidiedAt = 0;

  constructor(options: RankingOptions, second: number) {
    this.#options = options;
    this.subjects = new SubjectIndex(this.#expected);
    this.#sums = WINDOWS.map((_, w) => new Sums(SLIDING[w]?.stepS ?? 0, this.#capacity));
    this.#landmark = second;
    this.moveTo(second);
  }

  /** The windows are those of this minute now: what has left them is off already. */
  moveTo(second: number): void {
    this.#second = second;
    for (let w = 0; w < WINDOWS.length; w++) {
      this.#from[w] = rangeOf(w, second).from;
      this.#running[w] = stepAt(second, SLIDING[w]?.stepS ?? HOUR_S);
    }
  }

  /** A change; the subject's number. */
  add(bytes: Buffer, start: number, end: number, change: Change): number {
    const { amount, at } = change;
    const subject = this.#subjectOf(bytes, start, end);
    for (let w = 0; w < SLIDING.length; w++) {
      if (at < (this.#from[w] as number)) continue;
      const { stepS } = SLIDING[w] as { stepS: number };
      (this.#sums[w] as Sums).add(subject, amount, stepAt(at, stepS), this.#running[w] as number);
    }
    if (!change.isCounted) (this.#sums[ALL] as Sums).add(subject, amount, 1, 1);
    (this.#sums[HOT] as Sums).add(subject, amount * this.#weightAt(change.hotAt), 1, 1);
    if (at > (this.#changed[subject] as number)) this.#changed[subject] = at;
    if (amount < 0) this.#addNegative(subject, -amount);
    return subject;
  }

  /** A change that only the count has yet, as its minute has not begun. */
  addToCount(bytes: Buffer, start: number, end: number, amount: number): void {
    (this.#sums[ALL] as Sums).add(this.#subjectOf(bytes, start, end), amount, 1, 1);
  }

  /** What is known of a subject is another one's, or (null) nobody's. */
  become(subject: Buffer, other: Buffer | null): void {
    const from = this.subjects.find(subject, 0, subject.length);
    if (from < 0) return;
    const to = other === null ? -1 : this.#subjectOf(other, 0, other.length);
    if (from === to) return;
    for (let w = 0; w < WINDOWS.length; w++) (this.#sums[w] as Sums).become(from, to, this.#running[w] as number);
    if (to >= 0) {
      this.#changed[to] = Math.max(this.#changed[to] as number, this.#changed[from] as number);
      if (this.#negative) this.#addNegative(to, this.#negative[from] as number);
    }
    this.#changed[from] = 0;
    if (this.#negative) this.#negative[from] = 0;
  }

  /** What a subject's count is. */
  count(bytes: Buffer, start: number, end: number, count: number): void {
    (this.#sums[ALL] as Sums).know(this.#subjectOf(bytes, start, end), count);
  }

  /** A change of the step at `step`, which leaves the window. */
  leave(window: number, subject: number, amount: number, step: number): void {
    (this.#sums[window] as Sums).leave(subject, amount, step);
  }

  left(window: number, step: number): void {
    (this.#sums[window] as Sums).left(step);
  }

  /** The highest `limit` of each type above 0; ties in the order of the subjects' bytes. Types nobody has are left out. */
  top(window: number, types: readonly string[], limit: number): Map<string, Ranked> {
    const sums = this.#sums[window] as Sums;
    const heaps = new Map<number, Best>();
    for (const type of types) {
      const number = this.subjects.type(type);
      if (number >= 0) heaps.set(number, new Best(this.subjects, sums.values, limit));
    }
    this.#fill(heaps, sums);
    const scale = window === HOT ? this.#scale : 1;
    const ranked = new Map<string, Ranked>();
    for (const type of types) {
      const best = heaps.get(this.subjects.type(type))?.sorted() ?? [];
      const items = best.map((subject) => ({
        subject: this.subjects.subject(subject),
        value: (sums.values[subject] as number) * scale,
      }));
      ranked.set(type, { items, error: sums.error * scale });
    }
    return ranked;
  }

  /** Cuts windows that follow too many subjects, and forgets subjects that none follows. True: subjects have other numbers. */
  tidy(isDue: boolean): boolean {
    const { candidates } = this.#options;
    const grewBy = this.subjects.size - this.#tidiedAt;
    if (!isDue && grewBy < candidates * SLACK) return false;
    const isCrowded = this.subjects.size > candidates * SUBJECTS_MAX;
    for (let w = 0; w < WINDOWS.length; w++) {
      const followed = this.#followed(w);
      if (followed.length <= candidates * (1 + SLACK)) continue;
      this.#cut(w, followed, isCrowded ? candidates * CROWDED_SHARE : candidates);
    }
    const needed = this.#needed();
    const isWorthIt = this.subjects.size - needed.length > Math.max(this.subjects.size / 4, candidates * SLACK);
    if (isWorthIt) this.#keep(needed);
    this.#tidiedAt = this.subjects.size;
    return isWorthIt;
  }

  #fill(heaps: ReadonlyMap<number, Best>, { values }: Sums): void {
    const { types, size } = this.subjects;
    if (heaps.size === 0) return;
    for (let subject = 0; subject < size; subject++) {
      const value = values[subject] as number;
      if (value > 0) heaps.get(types[subject] as number)?.offer(subject, value);
    }
  }

  #subjectOf(bytes: Buffer, start: number, end: number): number {
    const { subjects } = this;
    const before = subjects.size;
    const subject = subjects.add(bytes, start, end);
    if (subject < before) return subject;
    if (subject >= this.#capacity) this.#grow();
    for (let w = 0; w < WINDOWS.length; w++) (this.#sums[w] as Sums).enter(subject, this.#running[w] as number);
    return subject;
  }

  #weightAt(at: number): number {
    const { halfLifeS } = this.#options;
    if ((this.#second - this.#landmark) / halfLifeS > EXPONENT_MAX) {
      (this.#sums[HOT] as Sums).scale(this.#scale);
      this.#landmark = this.#second;
    }
    return 2 ** ((at - this.#landmark) / halfLifeS);
  }

  get #expected(): number {
    return Math.ceil(this.#options.candidates * (SUBJECTS_MAX + SLACK));
  }

  get #scale(): number {
    return 2 ** ((this.#landmark - this.#second) / this.#options.halfLifeS);
  }

  #addNegative(subject: number, amount: number): void {
    this.#negative ??= new Float64Array(this.#capacity);
    this.#negative[subject] = (this.#negative[subject] as number) + amount;
  }

  /** A window has something of the subject. */
  #follows(window: number, subject: number): boolean {
    const sums = this.#sums[window] as Sums;
    if (sums.isOut(subject)) return false;
    if (window >= SLIDING.length) return sums.values[subject] !== 0;
    return (this.#changed[subject] as number) >= (this.#from[window] as number);
  }

  /** The lowest go until `keep` are left. */
  #cut(window: number, followed: Uint32Array, keep: number): void {
    const sums = this.#sums[window] as Sums;
    if (scratch.values.length < followed.length)
      scratch.values = new Float64Array(moreThan(followed.length, this.#expected));
    const values = scratch.values.subarray(0, followed.length);
    for (let i = 0; i < values.length; i++) values[i] = sums.values[followed[i] as number] as number;
    values.sort();
    let drops = followed.length - Math.floor(keep);
    const limit = values[drops - 1] as number;
    const running = this.#running[window] as number;
    for (const subject of followed) {
      if ((sums.values[subject] as number) >= limit) continue;
      sums.drop(subject, this.#negative?.[subject] ?? 0, running);
      drops--;
    }
    // Of those at the limit the ones that came last, as the others have more chances of being listed.
    for (let i = followed.length - 1; drops > 0; i--) {
      const subject = followed[i] as number;
      if (sums.isOut(subject) || sums.values[subject] !== limit) continue;
      sums.drop(subject, this.#negative?.[subject] ?? 0, running);
      drops--;
    }
  }

  #followed(window: number): Uint32Array {
    const found = this.#scratch();
    let count = 0;
    for (let subject = 0; subject < this.subjects.size; subject++) {
      if (this.#follows(window, subject)) found[count++] = subject;
    }
    return found.subarray(0, count);
  }

  /** Those that any window follows. */
  #needed(): Uint32Array {
    const found = this.#scratch();
    let count = 0;
    for (let subject = 0; subject < this.subjects.size; subject++) {
      for (let w = 0; w < WINDOWS.length; w++) {
        if (!this.#follows(w, subject)) continue;
        found[count++] = subject;
        break;
      }
    }
    return found.subarray(0, count);
  }

  #scratch(): Uint32Array {
    const { size } = this.subjects;
    if (scratch.subjects.length < size) scratch.subjects = new Uint32Array(moreThan(size, this.#expected));
    return scratch.subjects;
  }

  /** Only these, under new numbers. */
  #keep(needed: Uint32Array): void {
    const { size } = this.subjects;
    this.subjects.keep(needed);
    for (const sums of this.#sums) sums.keep(needed);
    kept(this.#changed, needed, size);
    if (this.#negative) kept(this.#negative, needed, size);
  }

  #grow(): void {
    this.#capacity = moreThan(this.#capacity, this.#expected);
    for (const sums of this.#sums) sums.grow(this.#capacity);
    this.#changed = grown(this.#changed, this.#capacity);
    if (this.#negative) this.#negative = grown(this.#negative, this.#capacity);
  }
}

export interface Change {
  amount: number;
  /** The first second of its step. */
  at: number;
  /** When it counts as having happened: in the middle of a step that is longer than a minute. */
  hotAt: number;
  /** Its count has it already, only the windows do not. */
  isCounted: boolean;
}

/** The highest values that were offered, and how they are ordered: the lowest of them is the heap's root. */
class Best {
  readonly #subjects: SubjectIndex;
  readonly #values: Float64Array;
  readonly #limit: number;
  readonly #heap: number[] = [];
  #lowest = 0;

  constructor(subjects: SubjectIndex, values: Float64Array, limit: number) {
    this.#subjects = subjects;
    this.#values = values;
    this.#limit = limit;
  }

  offer(subject: number, value: number): void {
    const heap = this.#heap;
    if (heap.length < this.#limit) {
      heap.push(subject);
      for (let i = heap.length - 1; i > 0; ) {
        const parent = (i - 1) >> 1;
        if (this.#order(heap[i] as number, heap[parent] as number) <= 0) break;
        this.#swap(i, parent);
        i = parent;
      }
    } else {
      if (value < this.#lowest || this.#order(subject, heap[0] as number) >= 0) return;
      heap[0] = subject;
      this.#sink();
    }
    this.#lowest = this.#values[heap[0] as number] as number;
  }

  sorted(): number[] {
    return this.#heap.sort((a, b) => this.#order(a, b));
  }

  /** Below 0 where `a` is before `b` in the list. */
  #order(a: number, b: number): number {
    return (this.#values[b] as number) - (this.#values[a] as number) || this.#subjects.compare(a, b);
  }

  #sink(): void {
    const heap = this.#heap;
    for (let i = 0; ; ) {
      let last = i;
      for (const child of [2 * i + 1, 2 * i + 2]) {
        if (child < heap.length && this.#order(heap[child] as number, heap[last] as number) > 0) last = child;
      }
      if (last === i) return;
      this.#swap(i, last);
      i = last;
    }
  }

  #swap(i: number, j: number): void {
    const heap = this.#heap;
    [heap[i], heap[j]] = [heap[j] as number, heap[i] as number];
  }
}
