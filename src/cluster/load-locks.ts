import { murmur3 } from "../lib/hash.ts";
import { encodeUtf8 } from "../lib/utf8.ts";
import { SUBJECT_SCRATCH_BYTES } from "../limits.ts";

const LOCKS = 4096;
const PAUSE_MS = 2;
/** A holder that takes longer is dead or unlucky: whoever waits loads by itself. */
const WAIT_MS_MAX = 250;

const scratch = new Uint8Array(SUBJECT_SCRATCH_BYTES + 3);

/**
 * Of all threads of a node that miss the same count, one asks the ledger for it: locks in shared memory, by the count's hash.
 * They save work and guard nothing, so two counts may share one, and a dead holder costs its waiters a moment.
 *
 * A word is odd while somebody loads, and another even one afterwards: who looked before that looks again instead.
 */
export class LoadLocks {
  readonly #words: Int32Array;

  constructor(share: SharedArrayBuffer) {
    this.#words = new Int32Array(share);
  }

  static allocate(): SharedArrayBuffer {
    return new SharedArrayBuffer(4 * LOCKS);
  }

  /** What `hold` is to be told; ask before you look whether the count is there. */
  before(name: string): number {
    return Atomics.load(this.#words, placeOf(name));
  }

  /** Runs `load`, unless somebody else's has ended since `before`, or waits until it has: then look again. */
  async hold(name: string, before: number, load: () => Promise<unknown>): Promise<void> {
    const at = placeOf(name);
    const isFree = (word: number) => word % 2 === 0;
    let word = Atomics.load(this.#words, at);
    if (isFree(word)) {
      if (word !== before) return;
      word = Atomics.compareExchange(this.#words, at, before, before + 1);
    }
    if (word !== before || !isFree(word)) {
      // The look comes last: a thread with thousands of requests in hand sleeps longer than it wanted to.
      for (const until = performance.now() + WAIT_MS_MAX; ; ) {
        if (Atomics.load(this.#words, at) !== word) return;
        if (performance.now() >= until) break;
        await Bun.sleep(PAUSE_MS);
      }
    }
    try {
      await load();
    } finally {
      // The dead one's, if it was not ours.
      const now = Atomics.load(this.#words, at);
      if (!isFree(now)) Atomics.compareExchange(this.#words, at, now, (now + 1) | 0);
    }
  }
}

function placeOf(name: string): number {
  return (murmur3(scratch, 0, encodeUtf8(name, scratch, 0), 0) >>> 0) % LOCKS;
}
