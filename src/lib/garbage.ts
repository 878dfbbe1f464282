import { edenGC, fullGC } from "bun:jsc";

/** Of so many collections one is of everything, unless said otherwise: some milliseconds, every few seconds under full load. */
const FULL_EVERY = 64;

/**
 * Collects garbage by count. JavaScriptCore counts every shared buffer that a thread holds as that thread's heap; ours are
 * gigabytes of address space, so it waits for as much garbage before it collects by itself: measured, 2.7 GB in a thread
 * that never returns to an event loop, and hundreds of megabytes, which no cache holds, in one that does. The young of two
 * thousand answers are collected in 0.2 ms.
 */
export class Garbage {
  readonly #every: number;
  readonly #fullEvery: number;
  #since = 0;
  #collections = 0;

  constructor(every: number, fullEvery = FULL_EVERY) {
    this.#every = every;
    this.#fullEvery = fullEvery;
  }

  /** So many things were done that each leave something behind. */
  add(things: number): void {
    this.#since += things;
    if (this.#since < this.#every) return;
    this.#since = 0;
    if (++this.#collections % this.#fullEvery === 0) fullGC();
    else edenGC();
  }
}
