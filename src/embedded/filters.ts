import type { Stamp } from "../arithmetic/stamp.ts";
import { bloomAdd, bloomHas, hashPair, hashWith, keysFor, LINE_WORDS, linesFor } from "../lib/bloom.ts";
import { acquire } from "../lib/fence.ts";

/**
 * What every thread knows of the ledger without asking it: its segments with their ranges of stamps, and Bloom filters that
 * say "never" of an (actor, subject) in a segment, or of a (metric, subject) in the counts.
 *
 * A new pair must not cost a question for each of a hundred segments, so there are two levels: each segment's filter, and
 * above it that of its *group*, consecutive segments that together hold twice as many rows as the group before. Five groups
 * say "never" of 20 million rows; where one says "maybe", its segments are asked.
 *
 * The projector alone writes, before the commit that needs it, and only ever widens: bits go on, ranges grow, segments are
 * added. So whatever a reader's transaction shows it, the filters know at least as much: "never" is true of every commit the
 * reader can see. A filter says never only once it is complete: those of an earlier life are filled anew in the background.
 */
export interface FilterShare {
  words: SharedArrayBuffer;
  ranges: SharedArrayBuffer;
  bits: SharedArrayBuffer;
}

/** With segments that grow by a 64th of the total, 1024 are never reached; the last would simply grow on. */
export const SEGMENTS_MAX = 1024;
const GROUPS_MAX = 48;
/** The first group's rows. */
export const GROUP_ROWS = 1_000_000;
/** Layers of the counts' filter double from this many keys on. */
const LAYER_KEYS = 65_536;
const LAYERS_MAX = 20;

const SEGMENT_COUNT = 0;
const GROUP_COUNT = 1;
const LAYER_COUNT = 2;
const LINES_USED = 3;
const SEED = 4;
const COUNTS_COMPLETE = 5;
/** How often all were to be filled again, and the last of these that has begun. */
const REFILLS_ASKED = 6;
const REFILLS_BEGUN = 7;
/** A filter's words: its first line, how many lines, whether it is complete, and what its owner needs. */
const FIRST = 0;
const LINES = 1;
const COMPLETE = 2;
const OWN = 3;
const FILTER_WORDS = 4;
const SEGMENT_AT = 16;
const GROUP_AT = SEGMENT_AT + SEGMENTS_MAX * FILTER_WORDS;
const LAYER_AT = GROUP_AT + GROUPS_MAX * FILTER_WORDS;
const WORDS = LAYER_AT + LAYERS_MAX * FILTER_WORDS;

/** `bytes` is what the filters may grow to: address space at first, since pages that were never written cost nothing. */
export function createFilterShare(bytes: number, seed = crypto.getRandomValues(new Int32Array(1))[0]): FilterShare {
  const share = {
    words: new SharedArrayBuffer(WORDS * 4),
    ranges: new SharedArrayBuffer(SEGMENTS_MAX * 16),
    bits: new SharedArrayBuffer(bytes - (bytes % (LINE_WORDS * 4))),
  };
  new Int32Array(share.words)[SEED] = seed as number;
  return share;
}

export class Filters {
  #words: Int32Array;
  /** Two for each segment: lowest and highest stamp. Aligned 8-byte stores do not tear on the machines Bun runs on. */
  #ranges: Float64Array;
  #bits: Int32Array;
  #linesMax: number;
  #seed: number;
  /** The two hashes of what the next questions are about. */
  #hash = new Int32Array(2);
  /** The subject whose counts were asked for last, and its hashes. */
  #counted = "";
  #countedHash = new Int32Array(2);

  constructor(share: FilterShare) {
    this.#words = new Int32Array(share.words);
    this.#ranges = new Float64Array(share.ranges);
    this.#bits = new Int32Array(share.bits);
    this.#linesMax = this.#bits.length / LINE_WORDS;
    this.#seed = this.#words[SEED] as number;
  }

  get segmentCount(): number {
    return acquire(this.#words, SEGMENT_COUNT);
  }

  stampMin(segment: number): Stamp {
    return this.#ranges[segment * 2] as number;
  }

  stampMax(segment: number): Stamp {
    return this.#ranges[segment * 2 + 1] as number;
  }

  /** Names the pair that `nextHolding` and `hold` are about, until the next call. */
  aim(actor: string, subject: string): void {
    hashPair(actor, subject, this.#seed, this.#hash);
  }

  /** A hash of the pair aimed at: evenly spread, not negative. */
  get aimed(): number {
    return (this.#hash[0] as number) >>> 0;
  }

  /** The first segment, from this one on, that may have a row of the pair aimed at; -1: none has. */
  nextHolding(from: number): number {
    const words = this.#words;
    const groups = this.groupCount;
    for (let group = 0; group < groups; group++) {
      const isLast = group === groups - 1;
      const at = GROUP_AT + group * FILTER_WORDS;
      const end = isLast ? this.segmentCount : (words[at + FILTER_WORDS + OWN] as number);
      if (from >= end) continue;
      if (this.#says(at)) {
        for (let segment = Math.max(from, words[at + OWN] as number); segment < end; segment++) {
          if (this.#says(SEGMENT_AT + segment * FILTER_WORDS)) return segment;
        }
      }
      // A group that came meanwhile holds what moved there meanwhile; `end` may already count its segments.
      if (isLast && acquire(words, GROUP_COUNT) > groups) {
        return this.nextHolding(Math.max(from, words[at + FILTER_WORDS + OWN] as number));
      }
    }
    return -1;
  }

  /** Whether bits of another copy, of the same seed, say "maybe" of the pair aimed at. */
  isAmong(bits: Int32Array): boolean {
    return bloomHas(bits, 0, bits.length / LINE_WORDS, this.#hash[0] as number, this.#hash[1] as number);
  }

  /**
   * For who found one that lacks something: all are to be filled again. Blocks its thread until the projector has begun, from
   * when on they say "maybe" of everything that is not filled; false: it did not in that time.
   */
  refill(timeoutMs: number): boolean {
    const asked = Atomics.add(this.#words, REFILLS_ASKED, 1) + 1;
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const begun = Atomics.load(this.#words, REFILLS_BEGUN);
      if (begun >= asked) return true;
      const leftMs = deadline - performance.now();
      if (leftMs <= 0) return false;
      Atomics.wait(this.#words, REFILLS_BEGUN, begun, leftMs);
    }
  }

  /** False: there is no such count. */
  mayCount(metric: number, subject: string): boolean {
    if (acquire(this.#words, COUNTS_COMPLETE) === 0) return true;
    return this.#isCounted(metric, subject);
  }

  /** "Maybe" (true) or "never" of what is aimed at. */
  #says(at: number): boolean {
    if (acquire(this.#words, at + COMPLETE) === 0) return true;
    return this.#hasBits(at);
  }

  #hasBits(at: number): boolean {
    const first = this.#words[at + FIRST] as number;
    const lines = this.#words[at + LINES] as number;
    return bloomHas(this.#bits, first, lines, this.#hash[0] as number, this.#hash[1] as number);
  }

  #isCounted(metric: number, subject: string): boolean {
    // The metrics of one subject are asked for one after the other.
    if (subject !== this.#counted) {
      hashPair("", subject, this.#seed, this.#countedHash);
      this.#counted = subject;
    }
    hashWith(this.#countedHash, metric, this.#hash);
    for (let layer = acquire(this.#words, LAYER_COUNT) - 1; layer >= 0; layer--) {
      if (this.#hasBits(LAYER_AT + layer * FILTER_WORDS)) return true;
    }
    return false;
  }

  // From here on: the projector only (and main, before there is one).

  /** The next segments are of a new group, whose filter has room for so many keys. */
  addGroup(keys: number, isComplete: boolean): void {
    const group = this.groupCount;
    // With no place for another group the last one takes more than it was made for: it says "maybe" more often.
    if (group >= GROUPS_MAX) return;
    const at = GROUP_AT + group * FILTER_WORDS;
    this.#words[at + OWN] = this.segmentCount;
    this.#reserve(keys, at, isComplete);
    Atomics.store(this.#words, GROUP_COUNT, group + 1);
  }

  /** The next segment, in the last group; complete if it is a new one or its bits follow at once (`restore`). */
  addSegment(keys: number, range: { stampMin: Stamp; stampMax: Stamp }, isComplete: boolean): number {
    const segment = this.segmentCount;
    this.#ranges[segment * 2] = range.stampMin;
    this.#ranges[segment * 2 + 1] = range.stampMax;
    this.#reserve(keys, SEGMENT_AT + segment * FILTER_WORDS, isComplete);
    Atomics.store(this.#words, SEGMENT_COUNT, segment + 1);
    return segment;
  }

  get groupCount(): number {
    return acquire(this.#words, GROUP_COUNT);
  }

  get seed(): number {
    return this.#seed;
  }

  groupStart(group: number): number {
    return this.#words[GROUP_AT + group * FILTER_WORDS + OWN] as number;
  }

  /** How many keys its filter was made for. */
  groupKeys(group: number): number {
    return keysFor(this.#words[GROUP_AT + group * FILTER_WORDS + LINES] as number);
  }

  groupOf(segment: number): number {
    let group = this.groupCount - 1;
    while (this.groupStart(group) > segment) group--;
    return group;
  }

  /** The bits themselves: to be kept, or to be restored. Empty where there was no room for the filter. */
  bitsOf(kind: "segment" | "group", index: number): Uint8Array {
    const at = (kind === "segment" ? SEGMENT_AT : GROUP_AT) + index * FILTER_WORDS;
    const first = (this.#words[at + FIRST] as number) * LINE_WORDS * 4;
    return new Uint8Array(this.#bits.buffer, first, (this.#words[at + LINES] as number) * LINE_WORDS * 4);
  }

  /** The segments whose filter is not complete, the newest last. */
  incomplete(): number[] {
    const segments = Array.from({ length: this.segmentCount }, (_, segment) => segment);
    return segments.filter((segment) => this.#words[SEGMENT_AT + segment * FILTER_WORDS + COMPLETE] === 0);
  }

  /** Which refill is asked for and has not begun, or null. */
  get refillAsked(): number | null {
    const asked = Atomics.load(this.#words, REFILLS_ASKED);
    return asked === this.#words[REFILLS_BEGUN] ? null : asked;
  }

  /** None is complete any more. The bits stay: too many do no harm. */
  forget(): void {
    for (let i = 0; i < this.segmentCount; i++) Atomics.store(this.#words, SEGMENT_AT + i * FILTER_WORDS + COMPLETE, 0);
    for (let i = 0; i < this.groupCount; i++) Atomics.store(this.#words, GROUP_AT + i * FILTER_WORDS + COMPLETE, 0);
    Atomics.store(this.#words, COUNTS_COMPLETE, 0);
    this.#held.clear();
  }

  refillBegun(asked: number): void {
    Atomics.store(this.#words, REFILLS_BEGUN, asked);
    Atomics.notify(this.#words, REFILLS_BEGUN);
  }

  /** All rows of the segment are held. */
  setComplete(segment: number): void {
    this.#complete(SEGMENT_AT + segment * FILTER_WORDS);
    this.#held.add(segment);
    this.settleGroup(this.groupOf(segment));
  }

  /** Completes a group whose bits hold the rows of all its segments that are complete, if all are. */
  settleGroup(group: number): void {
    const end = group === this.groupCount - 1 ? this.segmentCount : this.groupStart(group + 1);
    for (let segment = this.groupStart(group); segment < end; segment++) {
      const isComplete = this.#words[SEGMENT_AT + segment * FILTER_WORDS + COMPLETE] === 1;
      if (!isComplete && !this.#held.has(segment)) return;
    }
    this.#complete(GROUP_AT + group * FILTER_WORDS);
  }

  /** Segments whose rows their group holds, though there may have been no room for a filter of their own. */
  #held = new Set<number>();

  /** The segment holds a row of the pair aimed at. */
  hold(segment: number): void {
    this.#add(SEGMENT_AT + segment * FILTER_WORDS);
    this.#add(GROUP_AT + this.groupOf(segment) * FILTER_WORDS);
  }

  widen(segment: number, stampMin: Stamp, stampMax: Stamp): void {
    if (stampMin < this.stampMin(segment)) this.#ranges[segment * 2] = stampMin;
    if (stampMax > this.stampMax(segment)) this.#ranges[segment * 2 + 1] = stampMax;
  }

  /** There is such a count. False where the filter is full: it says "maybe" of everything from now on. */
  holdCount(metric: number, subject: string): boolean {
    if (this.#isCounted(metric, subject)) return true;
    let layer = (this.#words[LAYER_COUNT] as number) - 1;
    let at = LAYER_AT + layer * FILTER_WORDS;
    if (layer < 0 || (this.#words[at + OWN] as number) >= LAYER_KEYS * 2 ** layer) {
      layer++;
      at = LAYER_AT + layer * FILTER_WORDS;
      if (layer >= LAYERS_MAX || !this.#reserve(LAYER_KEYS * 2 ** layer, at, true)) {
        Atomics.store(this.#words, COUNTS_COMPLETE, 0);
        return false;
      }
      Atomics.store(this.#words, LAYER_COUNT, layer + 1);
    }
    this.#add(at);
    this.#words[at + OWN] = (this.#words[at + OWN] as number) + 1;
    return true;
  }

  /** How many counts are held. */
  get counted(): number {
    let counted = 0;
    for (let layer = 0; layer < LAYERS_MAX; layer++)
      counted += this.#words[LAYER_AT + layer * FILTER_WORDS + OWN] as number;
    return counted;
  }

  get areCountsComplete(): boolean {
    return Atomics.load(this.#words, COUNTS_COMPLETE) === 1;
  }

  setCountsComplete(): void {
    Atomics.store(this.#words, COUNTS_COMPLETE, 1);
  }

  #add(at: number): void {
    const lines = this.#words[at + LINES] as number;
    if (lines === 0) return;
    const first = this.#words[at + FIRST] as number;
    bloomAdd(this.#bits, first, lines, this.#hash[0] as number, this.#hash[1] as number);
  }

  #complete(at: number): void {
    if ((this.#words[at + LINES] as number) > 0) Atomics.store(this.#words, at + COMPLETE, 1);
  }

  /** Gives the filter at `at` lines for so many keys. False: the space is used up, so it says "maybe" for ever. */
  #reserve(keys: number, at: number, isComplete: boolean): boolean {
    const used = this.#words[LINES_USED] as number;
    const wanted = linesFor(keys);
    const lines = used + wanted <= this.#linesMax ? wanted : 0;
    this.#words[at + FIRST] = used;
    this.#words[at + LINES] = lines;
    this.#words[LINES_USED] = used + lines;
    Atomics.store(this.#words, at + COMPLETE, isComplete && lines > 0 ? 1 : 0);
    return lines > 0;
  }
}
