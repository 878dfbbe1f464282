import type { Renamed, StoredFrame } from "../ports/steps.ts";
import { readChanges, type VisitChange } from "./changes.ts";
import { SubjectIndex } from "./subjects.ts";

interface Rename {
  subject: number;
  becomes: Buffer;
  upTo: number;
}

/** Reads stored frames with the names that their subjects have now; what is nobody's any more is left out. */
export class Renames {
  readonly #subjects = new SubjectIndex();
  readonly #all: Rename[] = [];
  /** Of each subject the place of its renames in `#all`. */
  readonly #of: number[][] = [];

  add({ subject, becomes, upTo }: Renamed): void {
    const bytes = Buffer.from(subject);
    const number = this.#subjects.add(bytes, 0, bytes.length);
    const of = this.#of[number] ?? [];
    this.#of[number] = of;
    of.push(this.#all.length);
    this.#all.push({ subject: number, becomes: Buffer.from(becomes), upTo });
  }

  read({ id, frame }: StoredFrame, visit: VisitChange): void {
    readChanges(frame, (name, bytes, start, end, amount) => {
      const subject = this.#all.length === 0 ? -1 : this.#subjects.find(bytes, start, end);
      const now = subject < 0 ? null : this.#nameOf(subject, id);
      if (now === null) visit(name, bytes, start, end, amount);
      else if (now.length > 0) visit(name, now, 0, now.length, amount);
    });
  }

  /** One rename after the other, as they happened; null: it has kept its name. */
  #nameOf(subject: number, frame: number): Buffer | null {
    let name: Buffer | null = null;
    let after = -1;
    for (let number = subject; number >= 0; ) {
      const place = this.#of[number]?.find((it) => it > after && (this.#all[it] as Rename).upTo >= frame);
      if (place === undefined) return name;
      name = (this.#all[place] as Rename).becomes;
      after = place;
      number = name.length === 0 ? -1 : this.#subjects.find(name, 0, name.length);
    }
    return name;
  }
}
