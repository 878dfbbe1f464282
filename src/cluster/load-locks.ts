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
 */
export class LoadLocks {
  readonly #words: Int32Array;

  constructor(share: SharedArrayBuffer) {
    this.#words = new Int32Array(share);
  }

  static allocate(): SharedArrayBuffer {
    return new SharedArrayBuffer(4 * LOCKS);
  }

  /** Runs `load`, or waits until somebody else's has ended: then look again. */
  async hold(name: string, load: () => Promise<unknown>): Promise<void> {
    const at = (murmur3(scratch, 0, encodeUtf8(name, scratch, 0), 0) >>> 0) % LOCKS;
    if (Atomics.compareExchange(this.#words, at, 0, 1) !== 0) {
      for (const until = performance.now() + WAIT_MS_MAX; performance.now() < until; ) {
        await Bun.sleep(PAUSE_MS);
        if (Atomics.load(this.#words, at) === 0) return;
      }
    }
    try {
      await load();
    } finally {
      Atomics.store(this.#words, at, 0);
    }
  }
}
