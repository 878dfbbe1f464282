import { acquire } from "../lib/fence.ts";
import { Key } from "./key.ts";
import {
  continuations,
  DEAD,
  INLINE_WORDS,
  KEY,
  LEAVING,
  LINK,
  LINK_SHIFT,
  LONG_WORDS,
  LOW,
  lengthOf,
  META,
  markBits,
  metaOf,
  metricOf,
  REST_WORDS,
  SAME_KEY,
} from "./layout.ts";
import type { Pool } from "./pool.ts";
import { type Slots, wordOf } from "./slots.ts";

/**
 * From keys to slots: a hash table of chains, `heads` and `next` holding slot + 1 (0 ends a chain). It lives in memory
 * only. New slots enter at the head by compare-and-swap; only main takes slots out.
 */
export class Chains {
  readonly heads: Int32Array;
  readonly next: Int32Array;
  private readonly slots: Slots;
  private readonly words: Int32Array;
  private readonly pool: Pool;
  private readonly key: Key;
  /** For keys read back from slots, so that the one being looked for stays. */
  private readonly stored: Key;
  readonly mask: number;
  readonly seed: number;

  constructor(heads: Int32Array, next: Int32Array, slots: Slots, pool: Pool, seed: number) {
    this.heads = heads;
    this.next = next;
    this.slots = slots;
    this.words = slots.words;
    this.pool = pool;
    this.key = new Key(seed);
    this.stored = new Key(seed);
    this.mask = heads.length - 1;
    this.seed = seed;
  }

  /** The slot of a counter, rescued if it was leaving, or -1. */
  find(metric: number, subject: string): number {
    this.key.set(subject);
    return this.search(acquire(this.heads, this.key.hashWith(metric) & this.mask), metric);
  }

  /**
   * The slot of a counter, a new one if there is none, or -1 when there is no room.
   * Two threads never both put one key in: whoever swaps the head has seen the whole chain that hung on it, and if the
   * head moved, looks again. (A head that moved away and came back is the same chain or a shorter one: a slot that left
   * cannot come back while we are in.)
   */
  claim(metric: number, subject: string): number {
    this.key.set(subject);
    const bucket = this.key.hashWith(metric) & this.mask;
    let slot = -1;
    for (;;) {
      const head = acquire(this.heads, bucket);
      const found = this.search(head, metric);
      if (found >= 0) {
        if (slot >= 0) this.discard(slot);
        return found;
      }
      if (slot < 0) {
        slot = this.prepare(metric);
        if (slot < 0) return -1;
      }
      Atomics.store(this.next, slot, head);
      if (Atomics.compareExchange(this.heads, bucket, head, slot + 1) === head) return slot;
    }
  }

  /** Main only: takes a dead slot out of its chain. Who stands on it still finds its way on. */
  unlink(slot: number): void {
    this.read(slot);
    this.stored.rehash();
    const bucket = this.stored.hashWith(metricOf(this.slots.meta(slot))) & this.mask;
    const after = Atomics.load(this.next, slot);
    if (Atomics.compareExchange(this.heads, bucket, slot + 1, after) === slot + 1) return;
    let before = Atomics.load(this.heads, bucket) - 1;
    while (before >= 0) {
      const next = Atomics.load(this.next, before) - 1;
      if (next === slot) {
        Atomics.store(this.next, before, after);
        return;
      }
      before = next;
    }
    throw new Error(`slot ${slot} is in no chain`);
  }

  /** The subject of a slot. */
  subject(slot: number): string {
    this.read(slot);
    return this.stored.bytes.utf8Slice(0, this.stored.length);
  }

  /** The subject's bytes: how many, in `keyBytes`, until the next call of this or `subject`. */
  readKey(slot: number): number {
    this.read(slot);
    return this.stored.length;
  }

  get keyBytes(): Uint8Array {
    return this.stored.bytes;
  }

  /** The slots that a key's tail stands in. */
  tail(slot: number): number[] {
    const at = wordOf(slot);
    const tail: number[] = [];
    let left = continuations((lengthOf(this.words[at] as number) + 3) >> 2);
    for (let link = this.words[at + LINK] as number; left > 0; left--) {
      tail.push(link);
      link = (this.words[wordOf(link)] as number) >>> LINK_SHIFT;
    }
    return tail;
  }

  private search(head: number, metric: number): number {
    const want = metaOf(metric, this.key.length);
    for (let slot = head - 1; slot >= 0; slot = acquire(this.next, slot) - 1) {
      const meta = this.slots.meta(slot);
      if ((meta & SAME_KEY) !== want || !this.holdsKey(slot)) continue;
      if ((meta & LEAVING) === 0 || this.rescue(slot)) return slot;
    }
    return -1;
  }

  /** A slot that was found with this META: false where it has left, since it was asked to. */
  isStaying(slot: number, meta: number): boolean {
    return (meta & LEAVING) === 0 || this.rescue(slot);
  }

  /** Calls off the leaving; false when main was faster and the slot is dead. */
  private rescue(slot: number): boolean {
    const at = wordOf(slot);
    for (;;) {
      const meta = Atomics.load(this.words, at);
      if ((meta & DEAD) !== 0) return false;
      if ((meta & LEAVING) === 0) return true;
      if (Atomics.compareExchange(this.words, at, meta, meta & ~LEAVING) === meta) return true;
    }
  }

  private holdsKey(slot: number): boolean {
    const words = this.words;
    const key = this.key.words;
    const count = this.key.wordCount;
    const at = wordOf(slot) + KEY;
    if (count > INLINE_WORDS) return this.holdsLongKey(slot);
    for (let i = 0; i < count; i++) if (words[at + i] !== key[i]) return false;
    return true;
  }

  private holdsLongKey(slot: number): boolean {
    const words = this.words;
    const key = this.key.words;
    const count = this.key.wordCount;
    let at = wordOf(slot);
    for (let i = 0; i < LONG_WORDS; i++) if (words[at + KEY + i] !== key[i]) return false;
    let link = words[at + LINK] as number;
    for (let from = LONG_WORDS; from < count; from += REST_WORDS) {
      at = wordOf(link);
      const n = Math.min(REST_WORDS, count - from);
      for (let i = 0; i < n; i++) if (words[at + LOW + i] !== key[from + i]) return false;
      link = (words[at] as number) >>> LINK_SHIFT;
    }
    return true;
  }

  /** A slot with the key in it, live but in no chain yet, or -1. META comes last: what is live in the file is whole. */
  private prepare(metric: number): number {
    if (!this.pool.reserve()) return -1;
    const { words, key } = this;
    const taken: number[] = [];
    for (let need = 1 + continuations(key.wordCount); need > 0; need--) {
      const slot = this.pool.take();
      if (slot < 0) {
        for (const one of taken) this.pool.keep(one);
        this.pool.unreserve();
        return -1;
      }
      taken.push(slot);
    }
    const slot = taken[0] as number;
    const at = wordOf(slot);
    const long = taken.length > 1;
    words.fill(0, at + LOW, at + KEY);
    words.set(key.words.subarray(0, long ? LONG_WORDS : key.wordCount), at + KEY);
    if (long) words[at + LINK] = taken[1] as number;
    for (let i = 1, from = LONG_WORDS; i < taken.length; i++, from += REST_WORDS) {
      const rest = wordOf(taken[i] as number);
      words.set(key.words.subarray(from, Math.min(from + REST_WORDS, key.wordCount)), rest + LOW);
      words[rest] = (taken[i + 1] ?? 0) << LINK_SHIFT;
    }
    const mark = this.slots.adds(slot) & 0xc0000000;
    Atomics.store(words, at + META, metaOf(metric, key.length) | markBits(mark));
    return slot;
  }

  private discard(slot: number): void {
    const tail = this.tail(slot);
    Atomics.store(this.words, wordOf(slot), 0);
    for (const rest of tail) this.pool.keep(rest);
    this.pool.keep(slot);
    this.pool.unreserve();
  }

  private read(slot: number): void {
    const words = this.words;
    const at = wordOf(slot);
    const stored = this.stored;
    stored.setLength(lengthOf(words[at] as number));
    const count = stored.wordCount;
    const long = count > INLINE_WORDS;
    stored.words.set(words.subarray(at + KEY, at + KEY + (long ? LONG_WORDS : count)));
    if (!long) return;
    let from = LONG_WORDS;
    for (const link of this.tail(slot)) {
      const n = Math.min(REST_WORDS, count - from);
      stored.words.set(words.subarray(wordOf(link) + LOW, wordOf(link) + LOW + n), from);
      from += n;
    }
  }
}
