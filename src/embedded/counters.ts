import { Problem, unavailable } from "../errors.ts";
import { fault } from "../lib/fault.ts";
import { untilRoom } from "../local/room.ts";
import { COUNT_MAX, countTooHigh, type Metric, type Subject } from "../model.ts";
import { type CounterTable, OWING_TOO_MUCH, TOO_HIGH } from "../tallies/table.ts";
import type { SqliteLedgerReader } from "./reads.ts";

/** The counter table with the ledger behind it, as one worker uses them. */
export class Counters {
  readonly #table: CounterTable;
  readonly #ledger: SqliteLedgerReader;
  readonly #press: () => void;

  constructor(table: CounterTable, ledger: SqliteLedgerReader, press: () => void) {
    this.#table = table;
    this.#ledger = ledger;
    this.#press = press;
  }

  add(metric: number, subject: Subject, by: number): number | Promise<number> {
    return this.#tryAdd(metric, subject, by) ?? untilRoom(this.#press, () => this.#tryAdd(metric, subject, by));
  }

  /** The counter's slot, loaded; -1 where the table has no room. Inside enter/leave. */
  #slot(metric: number, subject: Subject): number {
    let slot = this.#table.find(metric, subject);
    if (slot >= 0 && this.#table.isLoaded(slot)) return slot;
    if (slot < 0) slot = this.#table.claim(metric, subject);
    fault("worker.claimed");
    if (slot >= 0 && !this.#table.isLoaded(slot)) {
      this.#table.install(
        slot,
        reading(() => this.#ledger.count(metric, subject)),
      );
    }
    return slot;
  }

  /** The count with it; null: nothing was added, as there is no room or the flush must come first. */
  #tryAdd(metric: number, subject: Subject, by: number): number | null {
    this.#table.enter();
    try {
      const slot = this.#slot(metric, subject);
      if (slot < 0) return null;
      const count = this.#table.add(slot, by);
      if (count === TOO_HIGH) throw countTooHigh();
      return count === OWING_TOO_MUCH ? null : count;
    } finally {
      this.#table.leave();
    }
  }

  /** Sees to it that the counter is loaded; false: no room now. */
  load(metric: number, subject: Subject): boolean {
    this.#table.enter();
    try {
      return this.#slot(metric, subject) >= 0;
    } finally {
      this.#table.leave();
    }
  }

  of(metric: number, subject: Subject): number {
    this.#table.enter();
    try {
      return this.#countInside(metric, subject);
    } finally {
      this.#table.leave();
    }
  }

  /** Subject by subject, the metrics in their order. */
  ofAll(subjects: readonly Subject[], metrics: readonly Metric[]): number[] {
    const counts: number[] = new Array(subjects.length * metrics.length);
    let at = 0;
    this.#table.enter();
    try {
      for (const subject of subjects) for (const { id } of metrics) counts[at++] = this.#countInside(id, subject);
    } finally {
      this.#table.leave();
    }
    return counts;
  }

  /**
   * Reads make no counters: one that the ledger does not have is 0 and takes no slot. When there was no slot the ledger had
   * all of the counter, so what it says a moment later lies between then and now.
   */
  #countInside(metric: number, subject: Subject): number {
    let slot = this.#table.find(metric, subject);
    if (slot >= 0 && this.#table.isLoaded(slot)) return this.#shown(slot);
    if (slot < 0 && !this.#ledger.mayCount(metric, subject)) return 0;
    const count = reading(() => this.#ledger.count(metric, subject));
    if (slot < 0 && count === 0) return 0;
    if (slot < 0) slot = this.#table.claim(metric, subject);
    if (slot < 0) return count;
    this.#table.install(slot, count);
    return this.#shown(slot);
  }

  /** Of a keyed body or an import each line counts, whatever there was. */
  #shown(slot: number): number {
    return Math.min(this.#table.shown(slot), COUNT_MAX);
  }
}

/** What the ledger refuses to say is 503. */
export function reading<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw asProblem(error);
  }
}

/** The same of what takes some time. */
export async function readingLater<T>(read: Promise<T>): Promise<T> {
  try {
    return await read;
  } catch (error) {
    throw asProblem(error);
  }
}

function asProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  return unavailable(`the ledger cannot be read: ${error instanceof Error ? error.message : error}`);
}
