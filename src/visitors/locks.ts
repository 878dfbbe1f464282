/** Tries before a thread that waits for a lock gives up its processor for a moment. */
const SPINS = 64;
const PAUSE_MS = 1;

/**
 * Short locks between the threads of one process, each a word: 0, or who holds it. They are not in the file, so SIGKILL leaves
 * none behind; what a thread held that died alone is given back by `threadGone`.
 */
export class Locks {
  readonly #words: Int32Array;
  readonly #mine: number;

  constructor(memory: SharedArrayBuffer, thread: number) {
    this.#words = new Int32Array(memory);
    this.#mine = thread + 1;
  }

  static allocate(count: number): SharedArrayBuffer {
    return new SharedArrayBuffer(4 * count);
  }

  take(lock: number): void {
    for (let spin = 0; ; spin++) {
      const holder = Atomics.compareExchange(this.#words, lock, 0, this.#mine);
      if (holder === 0) return;
      if (spin >= SPINS) Atomics.wait(this.#words, lock, holder, PAUSE_MS);
    }
  }

  give(lock: number): void {
    Atomics.store(this.#words, lock, 0);
  }

  threadGone(thread: number): void {
    for (let lock = 0; lock < this.#words.length; lock++) Atomics.compareExchange(this.#words, lock, thread + 1, 0);
  }
}
