import type { Position } from "../ports/log.ts";

const SAMPLE_MS = 100;

/** How long the oldest record that is not applied has been waiting, from samples of the log's head: frames carry no time. */
export class Lag {
  #samples: { at: number; head: Position }[] = [];

  saw(now: number, head: Position): void {
    const last = this.#samples.at(-1);
    if (last && (last.head === head || (now - last.at < SAMPLE_MS && now >= last.at))) return;
    this.#samples.push({ at: now, head });
  }

  /** Everything up to a sample's head was there at its time, and what lies between two samples came between their times. */
  at(now: number, applied: Position): number {
    while (this.#samples.length > 0 && (this.#samples[0] as { head: Position }).head <= applied) this.#samples.shift();
    const oldest = this.#samples[0];
    return oldest ? Math.max(0, now - oldest.at) : 0;
  }
}
