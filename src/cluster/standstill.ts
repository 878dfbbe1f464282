const WAIT_MS_MIN = 30_000;
const WAIT_MS_MAX = 600_000;

/** How long the ledger has stood still although there is something for it, and when that is too long: ever more seldom. */
export class Standstill {
  #sinceMs = performance.now();
  waitMs = WAIT_MS_MIN;

  /** It has come on, or has everything. */
  end(): void {
    this.#sinceMs = performance.now();
    this.waitMs = WAIT_MS_MIN;
  }

  isTooLong(): boolean {
    if (performance.now() - this.#sinceMs < this.waitMs) return false;
    this.#sinceMs = performance.now();
    this.waitMs = Math.min(2 * this.waitMs, WAIT_MS_MAX);
    return true;
  }
}
