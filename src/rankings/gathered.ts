import { ChangeWriter } from "./changes.ts";
import { grown, moreThan, SubjectIndex } from "./subjects.ts";

/** They are written before there are more of them. */
const EXPECTED = 2 ** 18;
const NONE = new Uint32Array(0);

/**
 * Changes added up by metric, step and subject until they are written: a row each, found through an open table. About 70 bytes a
 * row, which stay for the next ones.
 */
export class Gathered {
  readonly #subjects = new SubjectIndex(EXPECTED);
  /** Metrics with their steps, numbered. */
  readonly #names = new Map<number, number>();
  #name = new Uint32Array(1024);
  #subject = new Uint32Array(1024);
  #amount = new Float64Array(1024);
  /** The row + 1, or 0; at least twice as many places as rows. */
  #places = new Int32Array(4096);
  /** How many rows there are. */
  size = 0;

  add(metric: number, at: number, bytes: Buffer, start: number, end: number, amount: number): void {
    const key = metric * 2 ** 32 + at;
    let name = this.#names.get(key);
    if (name === undefined) {
      name = this.#names.size;
      this.#names.set(key, name);
    }
    const subject = this.#subjects.add(bytes, start, end);
    const place = this.#place(name, subject);
    const row = (this.#places[place] as number) - 1;
    if (row >= 0) this.#amount[row] = (this.#amount[row] as number) + amount;
    else this.#append(place, name, subject, amount);
  }

  /** What there is of a subject is another one's, or (empty) nobody's. */
  become(subject: Buffer, other: Buffer): void {
    const from = this.#subjects.find(subject, 0, subject.length);
    if (from < 0) return;
    for (const [key, name] of [...this.#names]) {
      const row = (this.#places[this.#place(name, from)] as number) - 1;
      const amount = this.#amount[row] ?? 0;
      if (amount === 0) continue;
      this.#amount[row] = 0;
      if (other.length > 0) this.add(Math.floor(key / 2 ** 32), key % 2 ** 32, other, 0, other.length, amount);
    }
  }

  /** As frames of about `bytesMax`, those of one step apart. */
  *frames(bytesMax: number): Generator<{ at: number; frame: Buffer }> {
    const rows = this.#rowsByName();
    for (const [at, keys] of Map.groupBy(this.#names.keys(), (key) => key % 2 ** 32)) {
      const writer = new ChangeWriter();
      for (const key of keys) {
        const metric = Math.floor(key / 2 ** 32);
        for (const row of rows(this.#names.get(key) as number)) {
          const amount = this.#amount[row] as number;
          if (amount === 0) continue;
          const { bytes, start, length } = this.#subjects.bytesOf(this.#subject[row] as number);
          writer.addBytes({ metric, at }, bytes, start, length, amount);
        }
      }
      for (const frame of writer.finish(bytesMax)) yield { at, frame };
    }
  }

  clear(): void {
    this.#subjects.keep(NONE);
    this.#names.clear();
    this.#places.fill(0);
    this.size = 0;
  }

  /** The rows of each name: all of them in the order of their names (a counting sort), of which each has a piece. */
  #rowsByName(): (name: number) => Uint32Array {
    const ends = new Uint32Array(this.#names.size + 1);
    for (let row = 0; row < this.size; row++) {
      const next = (this.#name[row] as number) + 1;
      ends[next] = (ends[next] as number) + 1;
    }
    for (let name = 1; name < ends.length; name++) ends[name] = (ends[name] as number) + (ends[name - 1] as number);
    const starts = ends.slice();
    const rows = new Uint32Array(this.size);
    for (let row = 0; row < this.size; row++) {
      const name = this.#name[row] as number;
      rows[starts[name] as number] = row;
      starts[name] = (starts[name] as number) + 1;
    }
    return (name) => rows.subarray(ends[name], ends[name + 1]);
  }

  /** The place of the row, or the free one where it would be. */
  #place(name: number, subject: number): number {
    const mask = this.#places.length - 1;
    const hash = Math.imul(subject, 0x9e3779b1) ^ Math.imul(name, 0x85ebca6b);
    for (let place = (hash ^ (hash >>> 15)) & mask; ; place = (place + 1) & mask) {
      const row = (this.#places[place] as number) - 1;
      if (row < 0 || (this.#subject[row] === subject && this.#name[row] === name)) return place;
    }
  }

  #append(place: number, name: number, subject: number, amount: number): void {
    const row = this.size++;
    if (this.size > this.#amount.length) {
      const capacity = moreThan(row, EXPECTED);
      this.#name = grown(this.#name, capacity);
      this.#subject = grown(this.#subject, capacity);
      this.#amount = grown(this.#amount, capacity);
    }
    this.#name[row] = name;
    this.#subject[row] = subject;
    this.#amount[row] = amount;
    this.#places[place] = this.size;
    if (this.size * 2 <= this.#places.length) return;
    this.#places = new Int32Array(this.#places.length * 2);
    for (let each = 0; each < this.size; each++) {
      this.#places[this.#place(this.#name[each] as number, this.#subject[each] as number)] = each + 1;
    }
  }
}
