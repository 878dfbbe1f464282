import { dayOf } from "../arithmetic/days.ts";
import type { VisitChange } from "../ports/ledger.ts";
import type { VisitorRecord } from "../records.ts";

/** Folds visitors by their sketches, so that each sketch is read and written once. */
export class FoldedVisits {
  readonly #changes = new Map<string, VisitChange>();

  add({ shard, metric, subject, code, atMs }: VisitorRecord): void {
    const key = `${metric} ${subject}`;
    let change = this.#changes.get(key);
    if (!change) {
      change = { shard, metric, subject, visits: [] };
      this.#changes.set(key, change);
    }
    change.visits.push([code, dayOf(atMs)]);
  }

  /** By subject, metric. */
  changes(): VisitChange[] {
    return [...this.#changes.values()].sort((a, b) =>
      a.subject < b.subject ? -1 : a.subject > b.subject ? 1 : a.metric - b.metric,
    );
  }
}
