import { copyBytes } from "../lib/bytes.ts";
import { murmur3 } from "../lib/hash.ts";

const SLASH = 0x2f;
const PREFIX_BYTES = 6;

/**
 * Subjects by number, 0, 1, 2 …, in memory that the collector need not walk: their bytes one behind the other, and an
 * open table over them. About 40 bytes for one of 20 bytes.
 */
export class SubjectIndex {
  #bytes = Buffer.allocUnsafe(64 * 1024);
  #end = 0;
  #starts = new Uint32Array(1024);
  #lengths = new Uint8Array(1024);
  /** The number + 1, or 0; twice as many places as subjects. */
  #places = new Int32Array(4096);
  readonly #seed = (Math.random() * 2 ** 32) | 0;
  /** Numbers of types, in the order of their first subjects. */
  readonly #types = new Map<string, number>();
  /** By subject: its type's number, and the first bytes of its id as a number, for a quick look at their order. */
  types = new Uint32Array(1024);
  prefixes = new Float64Array(1024);
  size = 0;

  /** Its number, or -1. */
  find(bytes: Uint8Array, start: number, end: number): number {
    const place = this.#place(bytes, start, end);
    return (this.#places[place] as number) - 1;
  }

  /** Its number, which is `size - 1` where it is new. */
  add(bytes: Buffer, start: number, end: number): number {
    const place = this.#place(bytes, start, end);
    const known = (this.#places[place] as number) - 1;
    if (known >= 0) return known;
    const number = this.size++;
    this.#places[place] = number + 1;
    if (this.size > this.#starts.length) this.#growColumns();
    const length = end - start;
    if (this.#end + length > this.#bytes.length) this.#growBytes(length);
    copyBytes(bytes, start, this.#bytes, this.#end, length);
    this.#starts[number] = this.#end;
    this.#lengths[number] = length;
    this.#end += length;
    const slash = bytes.indexOf(SLASH, start);
    this.types[number] = this.#typeOf(bytes.latin1Slice(start, slash));
    let prefix = 0;
    for (let i = slash + 1; i <= slash + PREFIX_BYTES; i++)
      prefix = prefix * 256 + (i < end ? (bytes[i] as number) : 0);
    this.prefixes[number] = prefix;
    if (this.size * 2 > this.#places.length) this.#growPlaces();
    return number;
  }

  subject(number: number): string {
    const start = this.#starts[number] as number;
    return this.#bytes.utf8Slice(start, start + (this.#lengths[number] as number));
  }

  /** The number of a type, or -1 where no subject is of it. */
  type(name: string): number {
    return this.#types.get(name) ?? -1;
  }

  /** Below 0 where `a` is first in the order of bytes, of two subjects of one type. */
  compare(a: number, b: number): number {
    const first = (this.prefixes[a] as number) - (this.prefixes[b] as number);
    if (first !== 0) return first;
    const startA = this.#starts[a] as number;
    const startB = this.#starts[b] as number;
    const endB = startB + (this.#lengths[b] as number);
    return this.#bytes.compare(this.#bytes, startB, endB, startA, startA + (this.#lengths[a] as number));
  }

  /** Where a subject's bytes are. */
  bytesOf(number: number): { bytes: Buffer; start: number; length: number } {
    return { bytes: this.#bytes, start: this.#starts[number] as number, length: this.#lengths[number] as number };
  }

  #place(bytes: Uint8Array, start: number, end: number): number {
    const mask = this.#places.length - 1;
    for (let place = murmur3(bytes, start, end, this.#seed) & mask; ; place = (place + 1) & mask) {
      const number = (this.#places[place] as number) - 1;
      if (number < 0 || this.#is(number, bytes, start, end)) return place;
    }
  }

  #is(number: number, bytes: Uint8Array, start: number, end: number): boolean {
    if (this.#lengths[number] !== end - start) return false;
    const own = (this.#starts[number] as number) - start;
    // From the end: the beginnings are alike.
    for (let i = end - 1; i >= start; i--) if (this.#bytes[own + i] !== bytes[i]) return false;
    return true;
  }

  #typeOf(name: string): number {
    const known = this.#types.get(name);
    if (known !== undefined) return known;
    this.#types.set(name, this.#types.size);
    return this.#types.size - 1;
  }

  #growColumns(): void {
    const capacity = moreThan(this.#starts.length);
    this.#starts = grown(this.#starts, capacity);
    this.#lengths = grown(this.#lengths, capacity);
    this.types = grown(this.types, capacity);
    this.prefixes = grown(this.prefixes, capacity);
  }

  #growBytes(length: number): void {
    const bytes = Buffer.allocUnsafe(moreThan(this.#bytes.length + length));
    bytes.set(this.#bytes.subarray(0, this.#end));
    this.#bytes = bytes;
  }

  #growPlaces(): void {
    this.#places = new Int32Array(this.#places.length * 2);
    for (let number = 0; number < this.size; number++) {
      const start = this.#starts[number] as number;
      const place = this.#place(this.#bytes, start, start + (this.#lengths[number] as number));
      this.#places[place] = number + 1;
    }
  }
}

/** Columns of some hundred megabytes do not double: that would be as much again for nothing. */
export function moreThan(length: number): number {
  return length + Math.max(1024, length >>> (length < SMALL ? 0 : 2));
}

const SMALL = 2 ** 16;

type Column = Uint8Array | Uint32Array | Float32Array | Float64Array;

/** The same numbers in a longer array, the rest 0. */
export function grown<T extends Column>(column: T, length: number): T {
  const longer = new (column.constructor as new (length: number) => T)(length);
  longer.set(column);
  return longer;
}
