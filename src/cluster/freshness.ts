import { SHARDS } from "../arithmetic/shard.ts";
import type { CounterTable } from "../tallies/table.ts";

/**
 * How far this node's counters go along with the shared ones, beside the counter table, slot by slot, in shared memory.
 *
 * A slot shows R + (ADDS − pushed): R is what Redis said last, `pushed` the point of ADDS up to which this node's own notes
 * were in it. `seq` of a shard is even while nobody changes what Redis has of this node's notes there: the log thread makes
 * it odd before it sends notes and even after it has set `pushed`; odd it stays while the outcome is not known.
 *
 *     reader   seq = s (even)          reads R from Redis              owns the slot: seq is still s? then R belongs to pushed
 *     sender             seq = s + 1   (R may or may not have the note)  pushed, base   seq = s + 2
 *
 * A reader that finds another seq throws its R away and reads again; so does the sender with what its puts have answered. Of two
 * readers the one whose reading began later wins; where both began in the same tick, the higher R, since while Redis keeps its
 * data a count only rises, but for sets.
 */
export interface FreshnessShare {
  slots: SharedArrayBuffer;
  seqs: SharedArrayBuffer;
  versions: SharedArrayBuffer;
  hidden: SharedArrayBuffer;
  /** Date.now() when the ticks began. */
  originMs: number;
}

/** 2^31 of them are more than a year of one process. */
const TICK_MS = 20;
const PUSHED = 0;
/** The tick at which R was asked for. Below, nothing is known: the slot has only what was added here, or an R of before. */
const ASKED = 1;
const NEVER = 0;
const FORGOTTEN = -1;
const WORDS = 2;

export class Freshness {
  readonly #words: Int32Array;
  readonly #seqs: Int32Array;
  /** By shard: the highest version that was shown from the ledger, while Redis was away. */
  readonly #versions: Int32Array;
  /** By shard: acts that are hidden. */
  readonly #hidden: Int32Array;
  readonly #originMs: number;

  constructor(share: FreshnessShare) {
    this.#words = new Int32Array(share.slots);
    this.#seqs = new Int32Array(share.seqs);
    this.#versions = new Int32Array(share.versions);
    this.#hidden = new Int32Array(share.hidden);
    this.#originMs = share.originMs;
  }

  static allocate(slots: number): FreshnessShare {
    return {
      slots: new SharedArrayBuffer(4 * WORDS * slots),
      seqs: new SharedArrayBuffer(4 * SHARDS),
      versions: new SharedArrayBuffer(4 * SHARDS),
      hidden: new SharedArrayBuffer(4 * SHARDS),
      originMs: Date.now() - TICK_MS,
    };
  }

  /** For `CounterTable.install` of a new slot: what the slot's former owners added is in every base there will be. */
  readonly begin = (slot: number, adds: number): void => {
    Atomics.store(this.#words, slot * WORDS + PUSHED, adds);
    Atomics.store(this.#words, slot * WORDS + ASKED, NEVER);
  };

  tick(): number {
    return Math.max(1, Math.floor((Date.now() - this.#originMs) / TICK_MS));
  }

  /** How old what the slot knows of the others is; infinite where it knows nothing, or the clock was set back since. */
  ageMs(slot: number): number {
    const asked = Atomics.load(this.#words, slot * WORDS + ASKED);
    const ticks = this.tick() - asked;
    return asked <= NEVER || ticks < 0 ? Number.POSITIVE_INFINITY : ticks * TICK_MS;
  }

  isKnown(slot: number): boolean {
    return Atomics.load(this.#words, slot * WORDS + ASKED) > NEVER;
  }

  /** Whether what the slot shows is at most the count, as far as this node knows: what it added, and maybe an R. */
  isSound(slot: number): boolean {
    return Atomics.load(this.#words, slot * WORDS + ASKED) !== FORGOTTEN;
  }

  /** What is known stays, and must be asked for anew before it is shown again. */
  expire(slot: number): void {
    if (this.isKnown(slot)) Atomics.store(this.#words, slot * WORDS + ASKED, 1);
  }

  /** Nothing is known any more: the next reading is believed whatever it says. */
  forget(slot: number): void {
    Atomics.store(this.#words, slot * WORDS + ASKED, FORGOTTEN);
  }

  /** The ledger was shown at this version: a copy in Redis that is older would show less. */
  shownAt(shard: number, version: number): void {
    if (version > this.versionOf(shard)) Atomics.store(this.#versions, shard, version);
  }

  /** `shown` was the highest, and the ledger, asked after that, is at a lower version: it is an older one, as after a restore. */
  lower(shard: number, shown: number, version: number): void {
    if (version < shown) Atomics.compareExchange(this.#versions, shard, shown, version);
  }

  versionOf(shard: number): number {
    return Atomics.load(this.#versions, shard);
  }

  /**
   * An act of this node was answered that no copy shows, and nobody could be told in Redis: what is seen of the shard is not
   * all there is. Until the log thread has told them (`HotStore.unsettle`).
   */
  hide(shard: number): void {
    Atomics.add(this.#hidden, shard, 1);
  }

  /** How many acts were hidden, 0: none. Ask before the shard is looked at. */
  hidden(shard: number): number {
    return Atomics.load(this.#hidden, shard);
  }

  /** The log thread's: so many are seen by now, or everybody has been told of them. */
  unhide(shard: number, known: number): void {
    Atomics.sub(this.#hidden, shard, known);
  }

  seq(shard: number): number {
    return Atomics.load(this.#seqs, shard);
  }

  /** What Redis shows of the shard has changed in another way than by notes: readings that are under way are too old. */
  renew(shard: number): void {
    Atomics.add(this.#seqs, shard, 2);
  }

  /** Sender: what Redis has of this node's notes there is about to change. */
  open(shard: number): void {
    if (this.seq(shard) % 2 === 0) Atomics.add(this.#seqs, shard, 1);
  }

  /** Sender: it is known again, and `pushed` is set. */
  close(shard: number): void {
    if (this.seq(shard) % 2 !== 0) Atomics.add(this.#seqs, shard, 1);
  }

  /** The point of ADDS up to which Redis has this node's notes, for all that is known. */
  pushed(slot: number): number {
    return Atomics.load(this.#words, slot * WORDS + PUSHED);
  }

  /**
   * Sender: Redis has this node's notes up to `to`. `from` is what `pushed` was when the last of them was appended: where it is
   * another one, the slot has another owner by now. (How far it is from one to the other says nothing: while Redis is away more
   * than 2^31 may be added.)
   */
  push(slot: number, { from, to }: { from: number; to: number }): void {
    Atomics.compareExchange(this.#words, slot * WORDS + PUSHED, from, to | 0);
  }

  /**
   * Takes in what Redis said, asked for at tick `asked` under `seq` (the sender's is odd); false where it may not be believed.
   * Inside enter/leave.
   */
  take(table: CounterTable, slot: number, reading: { count: number; asked: number; shard: number; seq: number }) {
    const at = slot * WORDS;
    const { count, asked, shard, seq } = reading;
    let isTaken = false;
    const pushed = this.pushed(slot);
    table.slots.setValueAt(slot, { count, pushed }, (rise) => {
      if (this.seq(shard) !== seq || Atomics.load(this.#words, at + PUSHED) !== pushed) return false;
      isTaken = true;
      const known = Atomics.load(this.#words, at + ASKED);
      // One that is still to come is of a clock that was set back.
      const isKnown = known > NEVER && known <= this.tick();
      if (isKnown && (known > asked || (known === asked && rise < 0))) return false;
      Atomics.store(this.#words, at + ASKED, asked);
      return true;
    });
    return isTaken;
  }

  /**
   * What the slot shows by this reading, whatever others have read meanwhile; null where it may not be believed. Takes nothing in.
   * Inside enter/leave.
   */
  shownBy(table: CounterTable, slot: number, { count, shard, seq }: { count: number; shard: number; seq: number }) {
    const pushed = this.pushed(slot);
    const adds = table.slots.adds(slot);
    const isOf = this.seq(shard) === seq && this.pushed(slot) === pushed;
    return isOf ? count + ((adds - pushed) | 0) : null;
  }
}
