/** One word of shared memory, and whether who has it is the one who writes it. */
export interface AwayShare {
  word: SharedArrayBuffer;
  isTeller: boolean;
}

/**
 * Whether the log thread finds MySQL away, for the other threads of its node and all their connections: else each of them
 * would learn by waiting for an answer what /readyz says already. The log thread asks twice a second.
 *
 * The word says how often that has changed; it is odd while MySQL is away.
 */
export class AwayNews {
  readonly #word: Int32Array;
  readonly #isTeller: boolean;
  #heard = 0;

  constructor({ word, isTeller }: AwayShare) {
    this.#word = new Int32Array(word);
    this.#isTeller = isTeller;
  }

  /** A word that says nothing yet. */
  static allocate(): SharedArrayBuffer {
    return new SharedArrayBuffer(4);
  }

  /** Only the teller's word counts: a slow answer to one thread is no news for the others. */
  tell(isAway: boolean): void {
    if (!this.#isTeller) return;
    const isTold = Atomics.load(this.#word, 0) % 2 !== 0;
    if (isTold !== isAway) Atomics.add(this.#word, 0, 1);
  }

  /**
   * Whether MySQL is away and that is new here. It is heard once: who then finds out that he gets through goes on, whatever
   * becomes of the log thread's own connection.
   */
  hear(): boolean {
    if (this.#isTeller) return false;
    const now = Atomics.load(this.#word, 0);
    const isNew = now !== this.#heard;
    this.#heard = now;
    return isNew && now % 2 !== 0;
  }
}
