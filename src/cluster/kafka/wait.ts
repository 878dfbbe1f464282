import { inTime } from "../../lib/deadline.ts";

/** The time was up. What was waited for may still happen. */
export class TimeUp extends Error {}

/** `work`, or TimeUp after `ms`. */
export function within<T>(work: Promise<T>, ms: number): Promise<T> {
  return inTime(work, ms, () => new TimeUp(`no answer in ${Math.round(ms)} ms`));
}

/** Waits that others can end. */
export class Signal {
  #waiting: (() => void)[] = [];

  /** Until the next `fire`, or for `ms`. */
  wait(ms?: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = ms === undefined ? undefined : setTimeout(resolve, ms);
      this.#waiting.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  fire(): void {
    if (this.#waiting.length === 0) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }
}
