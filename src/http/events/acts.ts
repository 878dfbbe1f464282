import { Turns } from "../../lib/turns.ts";
import { EVENT_ACTS_UNDER_WAY_MAX } from "../../limits.ts";

/**
 * Acts of one body that each wait for the disk: many under way at once, those with one name one after the other. Whoever
 * has one more than may be under way waits for one that is done.
 */
export class BodyActs {
  readonly #turns = new Turns();
  readonly #underWay = new Set<Promise<void>>();
  #bug: unknown;

  /** `act` answers for what the outside does to it; what it throws is a bug, and comes out of the next call. */
  async do(name: string, act: () => Promise<void>): Promise<void> {
    while (this.#underWay.size >= EVENT_ACTS_UNDER_WAY_MAX) await Promise.race(this.#underWay);
    this.#throwBug();
    const done = this.#do(name, act).catch((error: unknown) => {
      this.#bug ??= error;
    });
    this.#underWay.add(done);
    void done.then(() => this.#underWay.delete(done));
  }

  /** Everything is done. */
  async settle(): Promise<void> {
    await Promise.all(this.#underWay);
    this.#throwBug();
  }

  async #do(name: string, act: () => Promise<void>): Promise<void> {
    const done = await this.#turns.take(name);
    try {
      await act();
    } finally {
      done();
    }
  }

  #throwBug(): void {
    if (this.#bug !== undefined) throw this.#bug;
  }
}
