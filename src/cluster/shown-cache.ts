import { SHARDS } from "../arithmetic/shard.ts";
import { SHOWN_SUBJECTS_MAX } from "../limits.ts";
import type { Subject } from "../model.ts";
import type { CountName, PastPlace } from "../ports/hot-store.ts";

/** Counts of a subject by metric; undefined where they are not known. */
type ShownCounts = (number | undefined)[];

/**
 * What one thread has read of the shards, each under the token it was read at. While a shard's token stays, what it shows stays:
 * a page then costs one small question for each shard instead of ten for each subject.
 */
export class ShownCache {
  readonly #tokens: string[] = new Array(SHARDS).fill("");
  /** Which a token stands for, too. */
  readonly #places: (PastPlace | null)[] = new Array(SHARDS).fill(null);
  readonly #counts: Map<Subject, ShownCounts>[] = Array.from({ length: SHARDS }, () => new Map());

  find(shard: number, token: string, subject: Subject): ShownCounts | undefined {
    return this.#tokens[shard] === token ? this.#counts[shard]?.get(subject) : undefined;
  }

  /** Where the counts that `find` has found were read. */
  placeOf(shard: number): PastPlace | null {
    return this.#places[shard] ?? null;
  }

  put({ token, place }: { token: string; place: PastPlace }, name: CountName, count: number): void {
    const { shard } = place;
    const counts = this.#counts[shard] as Map<Subject, ShownCounts>;
    if (this.#tokens[shard] !== token || counts.size >= SHOWN_SUBJECTS_MAX) {
      counts.clear();
      this.#tokens[shard] = token;
      this.#places[shard] = place;
    }
    const known = counts.get(name.subject) ?? [];
    known[name.metric] = count;
    counts.set(name.subject, known);
  }
}
