import { HOUR_S, hourOf, MINUTE_S, rangeOf, SLIDING, stepAt } from "../arithmetic/windows.ts";
import type { Steps } from "../ports/steps.ts";
import { log } from "../telemetry/log.ts";
import { readBatch, type VisitChange } from "./changes.ts";
import { type Change, type Ranked, Ranking, type RankingOptions } from "./ranking.ts";
import { StepBook } from "./step-book.ts";

/** Changes go into the steps once a minute, so long after its end, or when there are many. */
const SAVE_AFTER_S = 5;
/** Minutes are kept for the windows of minutes and for `hot`, hours for a window longer than the longest. */
const MINUTES_KEPT_S = 25 * HOUR_S;
const HOURS_KEPT_S = 31 * 24 * HOUR_S;
/** Changes of a clock that is ahead wait for their minute; more than these count at once. */
const EARLY_MAX = 100_000;
/** Behind by more than this (the machine slept), or ahead of the clock (it was set back), it begins again. */
const LEAP_S = 2 * HOUR_S;
/** Only what is older may be of a step that is about to leave. */
const LATE_S = 58 * MINUTE_S;
const TIDY_EVERY = 4_096;
/** Between two collections of garbage: frames are megabytes, and a beginning reads all that there is. */
const COLLECT_EVERY = 16 * TIDY_EVERY;

/** What leaves a window with its next step, by metric: subjects' numbers and amounts. */
type Leaving = Map<number, { subjects: number[]; amounts: number[] }>;

interface Early {
  metric: number;
  subject: Buffer;
  change: Change;
}

export interface RankerOptions extends RankingOptions {
  /** So many subjects are ranked although nobody asks. */
  unaskedMax: number;
}

export interface Asked {
  metric: number;
  type: string;
  window: number;
}

export interface TopList extends Ranked {
  from: number;
  to: number;
}

/**
 * All rankings of a ledger, in the memory of one thread. Its calls come one after the other.
 *
 * A window's sums change by what comes and by what leaves. The step that leaves next is read beforehand, so that moving on is a
 * subtraction; a late change of that very step is added to it.
 *
 * What nobody asks for is not ranked once it is large: the ranker *rests*, holds no sums and only keeps the ledger's steps. When
 * somebody asks it begins again, as at a start.
 */
export class Ranker {
  readonly #steps: Steps;
  readonly #book: StepBook;
  readonly #options: RankerOptions;
  readonly #rankings = new Map<number, Ranking>();
  #isResting = false;
  #isWanted = true;
  #early: Early[] = [];
  readonly #leaving: (Leaving | null)[] = SLIDING.map(() => null);
  #hasBegun = false;
  /** The running minute. */
  #second = 0;
  #savedAt = 0;
  /** The minute whose work that can wait is done. */
  #tendedAt = 0;
  /** Changes and counts that came since it was made, and how many there were at the last collection. */
  #visited = 0;
  #collectedAt = 0;

  constructor(steps: Steps, options: RankerOptions) {
    this.#steps = steps;
    this.#book = new StepBook(steps);
    this.#options = options;
  }

  /** There are no lists until it was asked to `step` with somebody who wants them. */
  get isResting(): boolean {
    return this.#isResting;
  }

  /**
   * Takes in what came and moves the windows on to `second`; whether there was anything. Begins with the first call, and after
   * a rest with the first one in which lists are wanted.
   */
  async step(second: number, isWanted: boolean): Promise<boolean> {
    const minute = stepAt(second, MINUTE_S);
    this.#isWanted = isWanted;
    const isNew = !this.#hasBegun || (this.#isResting && isWanted);
    if (isNew || minute > this.#second + LEAP_S || minute < this.#second - LEAP_S) {
      try {
        this.#hasBegun = true;
        await this.#begin(minute);
      } catch (error) {
        this.#hasBegun = false;
        throw error;
      }
      return true;
    }
    const hasMoved = await this.#moveTo(minute);
    const frames = await this.#steps.changes();
    for (const frame of frames) this.#take(frame);
    if (frames.length > 0) this.#book.told();
    this.#tidy(hasMoved);
    const isDue = minute > this.#savedAt && second >= minute + SAVE_AFTER_S;
    if (isDue || this.#book.isFull) await this.#save();
    return hasMoved || frames.length > 0;
  }

  /** A piece of the work that can wait; false: there is none now. */
  async tend(): Promise<boolean> {
    if (this.#visited > this.#collectedAt) this.#collect();
    if (this.#savedAt !== this.#second || this.#tendedAt === this.#second) return false;
    for (let w = 0; w < SLIDING.length && !this.#isResting; w++) {
      if (this.#leaving[w] !== null) continue;
      this.#leaving[w] = await this.#load(w);
      return true;
    }
    if (await this.#book.mergeHour(this.#second - MINUTES_KEPT_S)) return true;
    const hasForgotten = await this.#steps.forget(this.#second - HOURS_KEPT_S);
    if (!hasForgotten) this.#tendedAt = this.#second;
    return hasForgotten;
  }

  /** The next step begins as at a start. */
  beginAnew(): void {
    this.#hasBegun = false;
  }

  /** Not while it rests. */
  top(asked: readonly Asked[], limit: number): TopList[] {
    if (this.#isResting) throw new Error("a ranker that rests has no lists");
    const lists = new Map<Asked, TopList>();
    for (const [metric, ofMetric] of Map.groupBy(asked, (it) => it.metric)) {
      for (const [window, ofWindow] of Map.groupBy(ofMetric, (it) => it.window)) {
        const types = ofWindow.map(({ type }) => type);
        const found = this.#rankings.get(metric)?.top(window, types, limit);
        for (const one of ofWindow) {
          const ranked = found?.get(one.type) ?? { items: [], error: 0 };
          lists.set(one, { ...rangeOf(window, this.#second), ...ranked });
        }
      }
    }
    return asked.map((one) => lists.get(one) as TopList);
  }

  async #begin(minute: number): Promise<void> {
    this.#forget();
    this.#book.forget();
    this.#isResting = false;
    this.#second = minute;
    this.#savedAt = 0;
    const { from } = rangeOf(SLIDING.length - 1, minute);
    await this.#steps.begin(from, {
      renamed: (all) => this.#book.renamed(all),
      step: (frame, isHour) => {
        this.#book.readFrame(frame, ({ metric, at }, bytes, start, end, amount) => {
          const hotAt = isHour ? at + HOUR_S / 2 : at;
          this.#add(metric, bytes, start, end, { amount, at, hotAt, isCounted: true });
          this.#visit();
        });
        return !this.#isResting;
      },
      change: (frame) => {
        this.#book.told();
        this.#take(frame, true);
      },
      count: (metric, subject, count) => {
        const bytes = Buffer.from(subject);
        if (count !== 0 && !this.#isResting) this.#ranking(metric).count(bytes, 0, bytes.length, count);
        this.#visit();
        return !this.#isResting;
      },
    });
    this.#tidy(true);
  }

  /** Of the sums; what has not been saved stays. */
  #forget(): void {
    this.#rankings.clear();
    this.#early = [];
    this.#leaving.fill(null);
  }

  /** One more has come: what is to be done after many of them. */
  #visit(): void {
    if (++this.#visited % TIDY_EVERY !== 0) return;
    this.#tidy(false);
    if (this.#visited % COLLECT_EVERY === 0) this.#collect();
  }

  #collect(): void {
    this.#collectedAt = this.#visited;
    Bun.gc(true);
  }

  #take(frame: Buffer, isCounted = false): void {
    const change: VisitChange = ({ metric, at }, bytes, start, end, amount) => {
      this.#visit();
      const age = this.#second - at;
      if (age < HOURS_KEPT_S) {
        const step = age < MINUTES_KEPT_S ? at : hourOf(at);
        this.#book.add(metric, step, bytes, start, end, amount);
      }
      this.#add(metric, bytes, start, end, { amount, at, hotAt: at, isCounted });
    };
    readBatch(frame, change, (subject, other) => this.#become(subject, other));
  }

  /** Between any two changes; what leaves next is found again where subjects got other numbers. */
  #tidy(isDue: boolean): void {
    let subjects = 0;
    for (const ranking of this.#rankings.values()) {
      if (ranking.tidy(isDue)) this.#leaving.fill(null);
      subjects += ranking.subjects.size;
    }
    if (this.#isWanted || subjects <= this.#options.unaskedMax) return;
    log.info("nobody asks for rankings, and they are large: they rest until somebody does", { subjects });
    this.#isResting = true;
    this.#forget();
    this.#collect();
  }

  /** A subject was erased, or merged into another one. */
  #become(subject: Buffer, other: Buffer): void {
    this.#book.become(subject, other);
    for (const ranking of this.#rankings.values()) ranking.become(subject, other.length === 0 ? null : other);
    this.#leaving.fill(null);
    const isSame = (early: Early) => early.subject.equals(subject);
    if (other.length === 0) this.#early = this.#early.filter((early) => !isSame(early));
    else for (const early of this.#early) if (isSame(early)) early.subject = other;
  }

  #add(metric: number, bytes: Buffer, start: number, end: number, change: Change): void {
    if (this.#isResting) return;
    const ranking = this.#ranking(metric);
    if (change.at > this.#second && this.#early.length < EARLY_MAX) {
      this.#early.push({ metric, subject: Buffer.from(bytes.subarray(start, end)), change });
      if (!change.isCounted) ranking.addToCount(bytes, start, end, change.amount);
      return;
    }
    const subject = ranking.add(bytes, start, end, change);
    if (change.at < this.#second - LATE_S) this.#addLate(metric, subject, change);
  }

  /** A late change of a step that is about to leave leaves with it. */
  #addLate(metric: number, subject: number, { at, amount }: Change): void {
    for (let w = 0; w < SLIDING.length; w++) {
      const leaving = this.#leaving[w];
      const { from } = rangeOf(w, this.#second);
      if (!leaving || at < from || at >= from + (SLIDING[w] as { stepS: number }).stepS) continue;
      const ofMetric = this.#ofMetric(leaving, metric);
      ofMetric.subjects.push(subject);
      ofMetric.amounts.push(amount);
    }
  }

  async #moveTo(minute: number): Promise<boolean> {
    if (minute <= this.#second) return false;
    const gone: [window: number, step: number, leaving: Leaving][] = [];
    for (let w = 0; w < SLIDING.length && !this.#isResting; w++) {
      const { stepS } = SLIDING[w] as { stepS: number };
      const { from } = rangeOf(w, minute);
      let leaving = this.#leaving[w] ?? null;
      for (let step = rangeOf(w, this.#second).from; step < from; step += stepS) {
        gone.push([w, step, leaving ?? (await this.#load(w, step))]);
        leaving = null;
      }
    }
    // A ledger that fails while steps are read has taken nothing off.
    for (const [w, step, leaving] of gone) {
      this.#leave(w, step, leaving);
      this.#leaving[w] = null;
    }
    this.#second = minute;
    for (const ranking of this.#rankings.values()) ranking.moveTo(minute);
    const early = this.#early;
    this.#early = [];
    for (const { metric, subject, change } of early) {
      this.#add(metric, subject, 0, subject.length, { ...change, isCounted: true });
    }
    return true;
  }

  #leave(window: number, step: number, leaving: Leaving): void {
    for (const [metric, { subjects, amounts }] of leaving) {
      const ranking = this.#ranking(metric);
      for (let i = 0; i < subjects.length; i++) {
        ranking.leave(window, subjects[i] as number, amounts[i] as number, step);
      }
    }
    for (const ranking of this.#rankings.values()) ranking.left(window, step);
  }

  /** The step that leaves the window next. */
  async #load(window: number, step = rangeOf(window, this.#second).from): Promise<Leaving> {
    const leaving: Leaving = new Map();
    const to = step + (SLIDING[window] as { stepS: number }).stepS;
    await this.#book.read(step, to, ({ metric }, bytes, start, end, amount) => {
      const subject = this.#ranking(metric).subjects.find(bytes, start, end);
      if (subject < 0) return;
      const ofMetric = this.#ofMetric(leaving, metric);
      ofMetric.subjects.push(subject);
      ofMetric.amounts.push(amount);
    });
    return leaving;
  }

  async #save(): Promise<void> {
    this.#savedAt = this.#second;
    await this.#book.save();
  }

  #ranking(metric: number): Ranking {
    let ranking = this.#rankings.get(metric);
    if (!ranking) {
      ranking = new Ranking(this.#options, this.#second);
      this.#rankings.set(metric, ranking);
    }
    return ranking;
  }

  #ofMetric(leaving: Leaving, metric: number) {
    let ofMetric = leaving.get(metric);
    if (!ofMetric) {
      ofMetric = { subjects: [], amounts: [] };
      leaving.set(metric, ofMetric);
    }
    return ofMetric;
  }
}
