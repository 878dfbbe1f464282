import { SHARDS } from "../arithmetic/shard.ts";
import { SHOWN_SUBJECTS_MAX } from "../limits.ts";
import type { Subject } from "../model.ts";

/** Counts of a subject by metric; undefined where they are not known. */
type ShownCounts = (number | undefined)[];

/**
 * What one thread has read of the shards, each under the token it was read at. While a shard's token stays, what it shows stays:
 * a page then costs one small question for each shard instead of ten for each subject.
 */
export class ShownCache {
  readonly #tokens: string[] = new Array(SHARDS).fill("");
  readonly #counts: Map<Subject, ShownCounts>[] = Array.from({ length: SHARDS }, () => new Map());

  find(shard: number, token: string, subject: Subject): ShownCounts | undefined {
    return this.#tokens[shard] === token ? this.#counts[shard]?.get(subject) : undefined;
  }

  put(shard: number, token: string, name: { metric: number; subject: Subject }, count: number): void {
    const counts = this.#counts[shard] as Map<Subject, ShownCounts>;
    if (this.#tokens[shard] !== token || counts.size >= SHOWN_SUBJECTS_MAX) {
      counts.clear();
      this.#tokens[shard] = token;
    }
    const known = counts.get(name.subject) ?? [];
    known[name.metric] = count;
    counts.set(name.subject, known);
  }
}
