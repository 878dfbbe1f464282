import { compareBytes } from "../arithmetic/place.ts";
import { COUNTED_LOOKS_MAX } from "../limits.ts";
import type { Subject } from "../model.ts";
import type { CountedPage, CountedQuery } from "../ports/counting.ts";

/** Subjects behind which one is looked for: `type/…` only, or all (types begin with a small letter). */
export function countedRange({ after, type }: Pick<CountedQuery, "after" | "type">): {
  after: Subject;
  below: Subject;
} {
  const first = type === undefined ? "" : `${type}/`;
  return { after: compareBytes(after, first) > 0 ? after : first, below: type === undefined ? "{" : `${type}0` };
}

/** Some sorted lists as one, each subject once: the first `limit`. A list that was cut ends what can be said. */
export function firstOf(lists: readonly (readonly Subject[])[], limit: number): Subject[] {
  const all = [...new Set(lists.flat())].sort(compareBytes);
  return all.slice(0, limit);
}

/**
 * A page of the subjects that show a count above 0, made in steps: the next candidates behind `after`, `wanted` of them if there
 * are so many, and which of them do show something. Whoever is deleted stays a candidate, so a page ends early, with a
 * cursor, where there are too many of these.
 */
export class CountedWalk {
  after: Subject;
  readonly wanted: number;
  readonly #limit: number;
  readonly #subjects: Subject[] = [];
  #looked = 0;

  constructor(query: CountedQuery) {
    this.after = countedRange(query).after;
    this.#limit = query.limit;
    this.wanted = query.limit + 1; // one more says whether there is more
  }

  /** The page, or null: there are more candidates. */
  take(candidates: readonly Subject[], isShown: readonly boolean[]): CountedPage | null {
    const subjects = this.#subjects;
    for (const [i, subject] of candidates.entries()) {
      if (!isShown[i]) continue;
      if (subjects.length === this.#limit) return { subjects, next: subjects.at(-1) as Subject };
      subjects.push(subject);
    }
    const last = candidates.at(-1);
    if (last === undefined || candidates.length < this.wanted) return { subjects, next: null };
    this.after = last;
    this.#looked += candidates.length;
    return this.#looked < COUNTED_LOOKS_MAX ? null : { subjects, next: last };
  }
}
