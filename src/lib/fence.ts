const own = new Int32Array(new SharedArrayBuffer(4));

/**
 * Plain reads before it come before, plain reads behind it behind, for compiler and processor alike: it is an atomic addition,
 * to a word that only this thread has.
 *
 * JavaScriptCore makes of Atomics.load such an addition of 0 too, to the very word that is read (Bun 1.4.4, x86: 12 ns, where a
 * plain read takes 0.6). That takes the cache line away from all other processors, and in a mapped file it makes the page a
 * dirty one. An aligned word is read whole without it; what a plain read lacks is its place among others. So what is read
 * much and written little is read plainly, between fences where the order matters.
 */
export function fence(): void {
  Atomics.add(own, 0, 0);
}

/** A number that others publish: what is read after it is at least as new. */
export function acquire(words: Int32Array, at: number): number {
  const value = words[at] as number;
  fence();
  return value;
}
