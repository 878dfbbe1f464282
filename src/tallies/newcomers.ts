import type { Threads } from "./threads.ts";

/**
 * Which slots have counts that a list of what the ledger has would lack: those that rose from 0 since it was asked last, a
 * bit each. A list of all subjects looks here first and into the ledger second, and need not go through ten million slots.
 *
 *     thread, inside the brackets: sees 0 ─ sets the bit ─ adds
 *     another, a moment later:     sees 0, and sets it too; or sees more than 0: then the bit was set before that add
 *
 * Bits go into one of two sets. Main *freezes* the set in use, so that the other one takes what comes, and empties it when
 * the ledger surely has all of it (NewcomersKeeper). A bit is a hint: the slot may be another counter's by now.
 */
export class Newcomers {
  readonly #words: Int32Array;
  /** The words of one set: a bit for each block of slots, then a bit for each slot. */
  readonly #blocks: number;
  readonly #set: number;

  constructor(memory: SharedArrayBuffer, slots: number) {
    this.#words = new Int32Array(memory);
    this.#blocks = wordsFor(Math.ceil(slots / BLOCK_SLOTS));
    this.#set = this.#blocks + wordsFor(slots);
  }

  /** Memory for all threads, empty. Pages that were never used cost nothing. */
  static allocate(slots: number): SharedArrayBuffer {
    const set = wordsFor(Math.ceil(slots / BLOCK_SLOTS)) + wordsFor(slots);
    return new SharedArrayBuffer(4 * (HEAD_WORDS + 2 * set));
  }

  /** The block comes first: who finds the slot's bit set has nothing more to do. */
  mark(slot: number): void {
    const set = HEAD_WORDS + (Atomics.load(this.#words, CURRENT) & 1) * this.#set;
    const word = set + this.#blocks + (slot >>> 5);
    if ((Atomics.load(this.#words, word) & (1 << (slot & 31))) !== 0) return;
    const block = slot >>> BLOCK_SHIFT;
    Atomics.or(this.#words, set + (block >>> 5), 1 << (block & 31));
    Atomics.or(this.#words, word, 1 << (slot & 31));
  }

  /** Every slot of both sets, in no order, perhaps one twice. */
  visit(visit: (slot: number) => void): void {
    for (const set of [HEAD_WORDS, HEAD_WORDS + this.#set]) {
      this.#each(set, this.#blocks, (block) => {
        const first = block * (BLOCK_SLOTS / 32);
        const words = Math.min(BLOCK_SLOTS / 32, this.#set - this.#blocks - first);
        this.#each(set + this.#blocks + first, words, (slot) => visit(block * BLOCK_SLOTS + slot));
      });
    }
  }

  /** Main: the other set, which is empty, takes what comes. Who is inside the brackets may still write into this one. */
  freeze(): void {
    Atomics.add(this.#words, CURRENT, 1);
  }

  /** Main: empties the set that is not in use. */
  emptyFrozen(): void {
    const set = HEAD_WORDS + ((Atomics.load(this.#words, CURRENT) + 1) & 1) * this.#set;
    this.#each(set, this.#blocks, (block) => {
      const from = set + this.#blocks + block * (BLOCK_SLOTS / 32);
      this.#words.fill(0, from, Math.min(from + BLOCK_SLOTS / 32, set + this.#set));
    });
    this.#words.fill(0, set, set + this.#blocks);
  }

  /** Whether the set in use has any. */
  get hasAny(): boolean {
    const set = HEAD_WORDS + (Atomics.load(this.#words, CURRENT) & 1) * this.#set;
    for (let word = set; word < set + this.#blocks; word++) if (Atomics.load(this.#words, word) !== 0) return true;
    return false;
  }

  #each(from: number, words: number, visit: (bit: number) => void): void {
    for (let i = 0; i < words; i++) {
      let left = Atomics.load(this.#words, from + i);
      while (left !== 0) {
        const bit = left & -left;
        left ^= bit;
        visit(i * 32 + 31 - Math.clz32(bit));
      }
    }
  }
}

const CURRENT = 0;
/** A cache line of its own. */
const HEAD_WORDS = 16;
const BLOCK_SHIFT = 12;
const BLOCK_SLOTS = 1 << BLOCK_SHIFT;

function wordsFor(bits: number): number {
  return Math.ceil(bits / 32);
}

/**
 * Main's side: when the frozen set may be emptied.
 *
 *     collecting ──freeze──▸ settling ──a flush that began when all were out──▸ waiting ──the ledger has it──▸ collecting
 *
 * settling   until all threads are out that may have set a bit and not yet added; a flush that begins then takes all that
 *            these counters owe, and what came in other ways (relations, keyed additions) was in the log before its bit
 * waiting    until the ledger has the log up to its end after that flush
 */
export class NewcomersKeeper {
  readonly #newcomers: Newcomers;
  readonly #threads: Pick<Threads, "advance" | "quiet">;
  readonly #positions: { logHead(): number; applied(): number };
  #state: "collecting" | "settling" | "waiting" = "collecting";
  #epoch = 0;
  #head = 0;

  constructor(
    newcomers: Newcomers,
    threads: Pick<Threads, "advance" | "quiet">,
    positions: { logHead(): number; applied(): number },
  ) {
    this.#newcomers = newcomers;
    this.#threads = threads;
    this.#positions = positions;
  }

  /** A flush begins; what to call when the log has all of it. */
  flushing(): () => void {
    if (this.#state === "collecting" && this.#newcomers.hasAny) {
      this.#newcomers.freeze();
      this.#epoch = this.#threads.advance();
      this.#state = "settling";
    }
    const epoch = this.#epoch;
    const takesAll = this.#state === "settling" && this.#threads.quiet(epoch);
    return () => {
      if (!takesAll || this.#state !== "settling" || epoch !== this.#epoch) return;
      this.#head = this.#positions.logHead();
      this.#state = "waiting";
    };
  }

  /** Now and then. */
  step(): void {
    if (this.#state !== "waiting" || this.#positions.applied() < this.#head) return;
    this.#newcomers.emptyFrozen();
    this.#state = "collecting";
  }
}
