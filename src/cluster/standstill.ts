import type { Position } from "../ports/log.ts";

const WAIT_MS_MIN = 30_000;
const WAIT_MS_MAX = 600_000;

/** How long the ledger has stood still although there is something for it, and when that is too long: ever more seldom. */
export class Standstill {
  readonly #now: () => number;
  #sinceMs: number;
  #applied: Position = -1;
  waitMs = WAIT_MS_MIN;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
    this.#sinceMs = now();
  }

  /** Told at each look how far the ledger has come, and whether there is more for it: with nothing to take it only waits. */
  look(applied: Position, hasMore: boolean): void {
    if (applied === this.#applied && hasMore) return;
    this.#applied = applied;
    this.#sinceMs = this.#now();
    this.waitMs = WAIT_MS_MIN;
  }

  /** From then on it is given twice as long. */
  isTooLong(): boolean {
    if (this.#now() - this.#sinceMs < this.waitMs) return false;
    this.#sinceMs = this.#now();
    this.waitMs = Math.min(2 * this.waitMs, WAIT_MS_MAX);
    return true;
  }
}
