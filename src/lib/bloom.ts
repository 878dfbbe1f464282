/**
 * A blocked Bloom filter: all bits of a key lie in one cache line, so asking costs one miss of the cache.
 * (Putze, Sanders, Singler: Cache-, Hash- and Space-Efficient Bloom Filters, WEA 2007.)
 *
 * With 12 bits a key and 8 bits set, about 0.6 % of the keys never added are answered "maybe" (bloom.test.ts).
 * One thread adds, any thread asks, without locks: bits only ever go from 0 to 1, so a torn moment can at most say "never"
 * of a key whose `add` has not returned.
 */
export const LINE_WORDS = 16;
const LINE_BITS_SHIFT = 9;
const LINE_BITS_MASK = 511;
const BITS_PER_KEY = 12;
const BITS_SET = 8;

/** How many lines of 64 bytes `keys` keys need. */
export function linesFor(keys: number): number {
  return Math.max(1, Math.ceil((keys * BITS_PER_KEY) / (LINE_WORDS * 32)));
}

/** The other way round: how many keys that many lines are made for. */
export function keysFor(lines: number): number {
  return Math.floor((lines * LINE_WORDS * 32) / BITS_PER_KEY);
}

/** Adds a key, given by two independent 32-bit hashes, to the filter of `lines` lines that begins at line `first`. */
export function bloomAdd(words: Int32Array, first: number, lines: number, hashA: number, hashB: number): void {
  const start = lineStart(first, lines, hashA);
  const step = (hashB >>> LINE_BITS_SHIFT) | 1;
  let bit = hashB;
  for (let i = 0; i < BITS_SET; i++) {
    const at = start + ((bit & LINE_BITS_MASK) >>> 5);
    words[at] = (words[at] as number) | (1 << (bit & 31));
    bit = (bit + step) | 0;
  }
}

/** False: the key was never added. */
export function bloomHas(words: Int32Array, first: number, lines: number, hashA: number, hashB: number): boolean {
  const start = lineStart(first, lines, hashA);
  const step = (hashB >>> LINE_BITS_SHIFT) | 1;
  let bit = hashB;
  for (let i = 0; i < BITS_SET; i++) {
    const word = words[start + ((bit & LINE_BITS_MASK) >>> 5)] as number;
    if ((word & (1 << (bit & 31))) === 0) return false;
    bit = (bit + step) | 0;
  }
  return true;
}

function lineStart(first: number, lines: number, hashA: number): number {
  // The upper half of hash × lines: even for any number of lines, without a division.
  return (first + Math.floor(((hashA >>> 0) * lines) / 0x1_0000_0000)) * LINE_WORDS;
}

/**
 * Two 32-bit hashes of a pair of strings, into `out[0]` and `out[1]`. Over UTF-16 units, so that no string has to be encoded
 * first. Two lanes of multiply and rotate with MurmurHash3's constants and its finish; seeded, since users choose the strings.
 */
export function hashPair(first: string, second: string, seed: number, out: Int32Array): void {
  let a = seed | 0;
  let b = ~seed;
  for (let i = 0; i < first.length; i++) {
    const unit = first.charCodeAt(i);
    a = Math.imul(a ^ unit, 0xcc9e2d51);
    a = (a << 13) | (a >>> 19);
    b = Math.imul(b + unit, 0x1b873593);
    b = (b << 15) | (b >>> 17);
  }
  // Between the two stands a unit that no text holds (a lone surrogate), so ("ab", "c") is not ("a", "bc").
  a = Math.imul(a ^ 0xdfff, 0x85ebca6b);
  b = Math.imul(b + 0xdfff, 0xc2b2ae35);
  for (let i = 0; i < second.length; i++) {
    const unit = second.charCodeAt(i);
    a = Math.imul(a ^ unit, 0xcc9e2d51);
    a = (a << 13) | (a >>> 19);
    b = Math.imul(b + unit, 0x1b873593);
    b = (b << 15) | (b >>> 17);
  }
  out[0] = finish(a ^ first.length);
  out[1] = finish(b ^ second.length);
}

/** Two hashes of a pair of which one part is a number, and the hashes of the other are in `base`: into `out`. */
export function hashWith(base: Int32Array, number: number, out: Int32Array): void {
  out[0] = finish((base[0] as number) ^ Math.imul(number + 1, 0x9e3779b1));
  out[1] = finish((base[1] as number) + Math.imul(number + 1, 0x85ebca6b));
}

function finish(hash: number): number {
  let h = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}
