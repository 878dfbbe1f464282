import type { Subject } from "../model.ts";
import type { PastChanges } from "../tallies/past-changes.ts";
import type { CounterTable } from "../tallies/table.ts";

/** Counts as the writer moves them. Streams hear which of it happened long ago. */
export class Bases {
  readonly #table: CounterTable;
  readonly #past: PastChanges;

  constructor(table: CounterTable, past: PastChanges) {
    this.#table = table;
    this.#past = past;
  }

  move(slot: number, delta: number, what: { metric: number; subject: Subject; isPast: boolean }): void {
    if (delta === 0) return;
    if (!what.isPast) this.#table.addToBase(slot, delta);
    else this.#past.tell(what.metric, what.subject, delta, () => this.#table.addToBase(slot, delta));
  }
}
