import { acquire } from "../lib/fence.ts";
import type { HotAdds } from "../ports/bulk.ts";
import type { Chains } from "./chains.ts";
import { hashOf } from "./key.ts";
import { INLINE_WORDS, KEY, LOADED, META, metaOf, SAME_KEY, TALLY_WORDS } from "./layout.ts";
import { wordOf } from "./slots.ts";
import type { CounterTable } from "./table.ts";

/** So many look-ups are under way at once. The processor's own limit is about ten misses of the cache. */
const ADDS_AT_ONCE = 64;
const INLINE_BYTES = 4 * INLINE_WORDS;

/**
 * Adds to many counters that are at hand (here and loaded), named by the bytes of their subjects: no string is made for any
 * of them. What it costs is waiting for memory: the chain's head, the slot and its tally are in no cache, and the atomic add
 * lets nothing overtake it. So additions gather, and their look-ups are made side by side before the first is added:
 *
 *     put     hashes the subject                                        64 times
 *     flush   reads all heads  →  reads all first slots and tallies  →  finds and adds, one after the other, from the cache
 *
 * What is read early is only fetched; what decides is read again, atomically, by the same rules as in chains.ts. Everything
 * between the first `put` and the end of `flush` happens inside enter/leave, and the bytes stand still meanwhile.
 */
export class Adder implements HotAdds {
  readonly #table: CounterTable;
  readonly #chains: Chains;
  readonly #words: Int32Array;
  readonly #tallies: Int32Array;
  readonly #seed: number;
  readonly #metrics = new Int32Array(ADDS_AT_ONCE);
  readonly #froms = new Int32Array(ADDS_AT_ONCE);
  readonly #tos = new Int32Array(ADDS_AT_ONCE);
  readonly #bys = new Int32Array(ADDS_AT_ONCE);
  readonly #lines = new Float64Array(ADDS_AT_ONCE);
  readonly #hashes = new Int32Array(ADDS_AT_ONCE);
  readonly #slots = new Int32Array(ADDS_AT_ONCE);
  #bytes: Uint8Array = new Uint8Array(0);
  #view: DataView = new DataView(this.#bytes.buffer);
  #count = 0;
  /** Keeps what is only fetched from being taken for useless. */
  fetched = 0;

  constructor(table: CounterTable) {
    this.#table = table;
    this.#chains = table.chains;
    this.#words = table.slots.words;
    this.#tallies = table.slots.tallies;
    this.#seed = table.chains.seed;
  }

  enter(): void {
    this.#table.enter();
  }

  leave(): void {
    this.#table.leave();
  }

  begin(bytes: Uint8Array): void {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  get isFull(): boolean {
    return this.#count === ADDS_AT_ONCE;
  }

  put(metric: number, from: number, to: number, by: number, line: number): void {
    const i = this.#count++;
    this.#metrics[i] = metric;
    this.#froms[i] = from;
    this.#tos[i] = to;
    this.#bys[i] = by;
    this.#lines[i] = line;
    this.#hashes[i] = hashOf(this.#bytes, this.#view, from, to, this.#seed, metric);
  }

  flush(left: (metric: number, from: number, to: number, by: number, line: number) => void): void {
    const count = this.#count;
    this.#count = 0;
    const { heads, mask } = this.#chains;
    const words = this.#words;
    const tallies = this.#tallies;
    for (let i = 0; i < count; i++) this.#slots[i] = (heads[(this.#hashes[i] as number) & mask] as number) - 1;
    let fetched = 0;
    for (let i = 0; i < count; i++) {
      const slot = this.#slots[i] as number;
      if (slot >= 0) fetched ^= (words[wordOf(slot)] as number) ^ (tallies[slot * TALLY_WORDS] as number);
    }
    this.fetched = fetched;
    for (let i = 0; i < count; i++) {
      const from = this.#froms[i] as number;
      const to = this.#tos[i] as number;
      const metric = this.#metrics[i] as number;
      const by = this.#bys[i] as number;
      const slot = this.#find(this.#hashes[i] as number, metric, from, to);
      if (slot < 0 || this.#table.add(slot, by) < 0) left(metric, from, to, by, this.#lines[i] as number);
    }
  }

  /** Short keys only, which nearly all are. */
  #find(hash: number, metric: number, from: number, to: number): number {
    const length = to - from;
    if (length > INLINE_BYTES) return -1;
    const { heads, next, mask } = this.#chains;
    const words = this.#words;
    const want = metaOf(metric, length);
    for (let slot = acquire(heads, hash & mask) - 1; slot >= 0; slot = acquire(next, slot) - 1) {
      const at = wordOf(slot);
      const meta = words[at + META] as number;
      if ((meta & SAME_KEY) !== want || !this.#holds(at + KEY, from, to)) continue;
      if ((meta & LOADED) === 0 || !this.#chains.isStaying(slot, meta)) return -1;
      this.#table.touch(slot);
      return slot;
    }
    return -1;
  }

  #holds(word: number, from: number, to: number): boolean {
    const words = this.#words;
    const view = this.#view;
    let at = from;
    for (; at + 4 <= to; at += 4) if (words[word++] !== view.getInt32(at, true)) return false;
    if (at === to) return true;
    let last = 0;
    for (let shift = 0; at < to; at++, shift += 8) last |= (this.#bytes[at] as number) << shift;
    return words[word] === last;
  }
}
