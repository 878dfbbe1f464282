import { ChangeWriter } from "./changes.ts";
import { SubjectIndex } from "./subjects.ts";

/** Changes added up by metric, step and subject until they are written. About 100 bytes each. */
export class Gathered {
  #subjects = new SubjectIndex();
  readonly #amounts = new Map<number, Map<number, number>>();
  /** How many there are. */
  size = 0;

  add(metric: number, at: number, bytes: Buffer, start: number, end: number, amount: number): void {
    const key = metric * 2 ** 32 + at;
    let amounts = this.#amounts.get(key);
    if (!amounts) {
      amounts = new Map();
      this.#amounts.set(key, amounts);
    }
    const subject = this.#subjects.add(bytes, start, end);
    const before = amounts.get(subject);
    if (before === undefined) this.size++;
    amounts.set(subject, (before ?? 0) + amount);
  }

  /** What there is of a subject is another one's, or (empty) nobody's. */
  become(subject: Buffer, other: Buffer): void {
    const from = this.#subjects.find(subject, 0, subject.length);
    if (from < 0) return;
    for (const [key, amounts] of this.#amounts) {
      const amount = amounts.get(from);
      if (amount === undefined) continue;
      amounts.delete(from);
      this.size--;
      if (other.length === 0) continue;
      this.add(Math.floor(key / 2 ** 32), key % 2 ** 32, other, 0, other.length, amount);
    }
  }

  /** As frames of about `bytesMax`, those of one step apart. */
  *frames(bytesMax: number): Generator<{ at: number; frame: Buffer }> {
    for (const [at, keys] of Map.groupBy(this.#amounts.keys(), (key) => key % 2 ** 32)) {
      const writer = new ChangeWriter();
      for (const key of keys) {
        const name = { metric: Math.floor(key / 2 ** 32), at };
        for (const [subject, amount] of this.#amounts.get(key) ?? []) {
          if (amount === 0) continue;
          const { bytes, start, length } = this.#subjects.bytesOf(subject);
          writer.addBytes(name, bytes, start, length, amount);
        }
      }
      for (const frame of writer.finish(bytesMax)) yield { at, frame };
    }
  }

  clear(): void {
    this.#subjects = new SubjectIndex();
    this.#amounts.clear();
    this.size = 0;
  }
}
