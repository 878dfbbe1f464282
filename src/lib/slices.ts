/** Work of some length, cut at each `yield`. */
export type Sliced<T> = Generator<void, T, void>;

/** All of it, here and now. */
export function atOnce<T>(work: Sliced<T>): T {
  for (;;) {
    const { done, value } = work.next();
    if (done) return value;
  }
}

/** A few milliseconds at a time; in between others of this thread have their turn. */
export async function inSlices<T>(work: Sliced<T>, sliceMs: number): Promise<T> {
  for (;;) {
    const until = performance.now() + sliceMs;
    do {
      const { done, value } = work.next();
      if (done) return value;
    } while (performance.now() < until);
    await othersTurn();
  }
}

/** Whoever else waits for this thread comes first. */
export function othersTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
