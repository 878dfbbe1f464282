import type { Subject } from "../model.ts";
import type { Code } from "./code.ts";
import { Sketch } from "./sketch.ts";

/** How many different visitors, about. */
export interface Distinct {
  /** On this UTC day. */
  today: number;
  all: number;
}

export interface SketchName {
  metric: number;
  subject: Subject;
}

/** Of a ledger: null where nobody has come. */
export interface StoredPair {
  today: Sketch | null;
  all: Sketch | null;
}

/** The two sketches of one tally of one subject, as they are in memory. */
export interface Pair {
  readonly name: SketchName;
  all: Sketch;
  /** Days since 1970: the one that `today` is of. */
  day: number;
  today: Sketch;
  /** When its part in the ledger was last read (the caller's clock, 0: never), for those who share the ledger. */
  readAtMs: number;
  /** What its owner keeps beside it. */
  extraBytes: number;
  /** Where the last record about it ends in the log. */
  end: number;
  /** The round in which it was last asked for. */
  round: number;
}

/** Besides its two sketches: objects, the key, the map's entry. */
const PAIR_BYTES = 600;
/** How many of the oldest are looked at for one that may leave. */
const LOOKS = 64;

/** Among days: the sketch of all time. */
export const ALL_TIME = 0;

/**
 * The sketches that one thread, their only owner, keeps in memory; the ledger is behind them. A pair may leave when the
 * ledger has all of its records, and is read from there again: nothing is lost, as the sketch in the ledger is at least
 * what this one was. Those asked for least recently leave first. What was asked for in the current round stays, so that
 * who has decided on a pair may still change it.
 *
 * Another day's pair is given the new day's sketch from the ledger. (A clock set back over midnight shows that day as the
 * ledger has it, without its last records for the moment they need to get there.)
 */
export class Sketches {
  readonly #pairs = new Map<string, Pair>();
  readonly #bytesMax: number;
  /** Up to where the ledger has the log. */
  readonly #applied: () => number;
  #round = 0;
  bytes = 0;

  constructor(parts: { bytesMax: number; applied: () => number }) {
    this.#bytesMax = parts.bytesMax;
    this.#applied = parts.applied;
  }

  get size(): number {
    return this.#pairs.size;
  }

  /** A round ends with all that was decided done or given up. */
  beginRound(): void {
    this.#round++;
  }

  /** The pair, where it is here and of that day. */
  find(name: SketchName, day: number): Pair | null {
    const key = keyOf(name);
    const pair = this.#pairs.get(key);
    if (pair?.day !== day) return null;
    if (pair.round !== this.#round) {
      pair.round = this.#round;
      this.#pairs.delete(key);
      this.#pairs.set(key, pair);
    }
    return pair;
  }

  /** Takes in what the ledger has (null: nothing) of a pair, which may be here; null where there is no room for it. */
  install(name: SketchName, day: number, stored: StoredPair): Pair | null {
    const key = keyOf(name);
    let pair = this.#pairs.get(key);
    const before = pair ? bytesOf(pair) : 0;
    if (pair) {
      if (stored.all) pair.all.merge(stored.all);
      if (pair.day !== day) Object.assign(pair, { day, today: stored.today ?? new Sketch(), readAtMs: 0 });
      else if (stored.today) pair.today.merge(stored.today);
    } else {
      const { all, today } = stored;
      pair = {
        name,
        day,
        today: today ?? new Sketch(),
        all: all ?? new Sketch(),
        readAtMs: 0,
        extraBytes: 0,
        end: 0,
        round: 0,
      };
      if (!this.#makeRoom(bytesOf(pair))) return null;
    }
    pair.round = this.#round;
    this.#pairs.delete(key);
    this.#pairs.set(key, pair);
    this.bytes += bytesOf(pair) - before;
    return pair;
  }

  /** A visitor of that day has come, which the log has up to `end`. */
  add(pair: Pair, code: Code, day: number, end: number): void {
    const before = bytesOf(pair);
    pair.all.add(code);
    if (pair.day === day) pair.today.add(code);
    if (end > pair.end) pair.end = end;
    this.#grew(pair, before);
  }

  /** Its sketches become others. */
  replace(pair: Pair, sketches: { today: Sketch; all: Sketch }): void {
    const before = bytesOf(pair);
    Object.assign(pair, sketches);
    this.#grew(pair, before);
  }

  setExtra(pair: Pair, bytes: number): void {
    const before = bytesOf(pair);
    pair.extraBytes = bytes;
    this.#grew(pair, before);
  }

  /** The subject's sketches are gone from the ledger. */
  forget(name: SketchName): void {
    const key = keyOf(name);
    const pair = this.#pairs.get(key);
    if (!pair) return;
    this.#pairs.delete(key);
    this.bytes -= bytesOf(pair);
  }

  /** One that has left meanwhile takes nothing. */
  #grew(pair: Pair, before: number): void {
    if (this.#pairs.get(keyOf(pair.name)) === pair) this.bytes += bytesOf(pair) - before;
  }

  /** False: nobody may leave. What is here may grow beyond the bound, by 32 KiB each at most, and then nobody comes in. */
  #makeRoom(bytes: number): boolean {
    if (this.bytes + bytes <= this.#bytesMax) return true;
    const applied = this.#applied();
    let looks = 0;
    for (const [key, pair] of this.#pairs) {
      if (pair.end <= applied && pair.round !== this.#round) {
        this.#pairs.delete(key);
        this.bytes -= bytesOf(pair);
      }
      if (this.bytes + bytes <= this.#bytesMax) return true;
      if (++looks === LOOKS) break;
    }
    return false;
  }
}

/** Whether a visit of that day would change nothing. */
export function hasSeen(pair: Pair, code: Code, day: number): boolean {
  return pair.all.has(code) && (pair.day !== day || pair.today.has(code));
}

/** Of all time there were at least as many as today, whichever way the two estimates err. */
export function distinctOf({ all, today }: Pick<Pair, "all" | "today">): Distinct {
  return { today: today.count, all: Math.max(all.count, today.count) };
}

function keyOf({ metric, subject }: SketchName): string {
  return `${metric} ${subject}`;
}

function bytesOf({ all, today, extraBytes }: Pair): number {
  return PAIR_BYTES + extraBytes + all.bytes + today.bytes;
}
