import { LAG_MS_MAX, LOOK_MS_MAX } from "../limits.ts";
import type { Position } from "../ports/log.ts";

/** After so long an act is put, or has been given up by who did it. */
const PUT_MS_MAX = LAG_MS_MAX + LOOK_MS_MAX;

interface Late {
  shards: ReadonlySet<number>;
  upTo: Position;
}

/**
 * Acts of this run on shards whose copies are new. Whoever did them puts them himself and is told what they changed, which a
 * put before his would hide; so they are put for him only once he cannot be doing it any more.
 */
export class LateActs {
  readonly #waiting: Late[] = [];
  /** Where the outbox ended at each look: the newest one that is long enough ago, and those behind it. */
  readonly #ends: { end: Position; atMs: number }[] = [];

  /** Now and again: all up to `end` has been answered. */
  answered(end: Position): void {
    const atMs = performance.now();
    this.#ends.push({ end, atMs });
    while (this.#ends[1] && this.#ends[1].atMs <= atMs - PUT_MS_MAX) this.#ends.shift();
  }

  /** Up to here nobody puts his acts himself any more; 0 where that is not known yet. */
  get leftUpTo(): Position {
    const [oldest] = this.#ends;
    return oldest && oldest.atMs <= performance.now() - PUT_MS_MAX ? oldest.end : 0;
  }

  /** `upTo`: whatever is not answered yet is put into the new copies. */
  add(shards: ReadonlySet<number>, upTo: Position): void {
    this.#waiting.push({ shards, upTo });
  }

  /** What fails is tried again by the next call. */
  async each(put: (shards: ReadonlySet<number>, upTo: Position) => Promise<void>): Promise<void> {
    for (let [first] = this.#waiting; first && first.upTo <= this.leftUpTo; [first] = this.#waiting) {
      await put(first.shards, first.upTo);
      this.#waiting.shift();
    }
  }
}
