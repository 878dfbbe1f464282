import { untilRoom } from "../local/room.ts";
import { COUNT_MAX, type Subject } from "../model.ts";
import { type CounterTable, OWING_TOO_MUCH } from "../tallies/table.ts";
import type { Freshness } from "./freshness.ts";

/** What came of an addition: what the counter shows then, and how old what it knows of the other nodes is. */
export interface Added {
  /** TOO_HIGH: nothing was added, as the count that is known here would pass the largest. */
  count: number;
  ageMs: number;
}

/** The counter table of a node, as one worker adds to it. */
export class Counters {
  readonly #table: CounterTable;
  readonly #freshness: Freshness;
  readonly #press: () => void;

  constructor(parts: { table: CounterTable; freshness: Freshness; press: () => void }) {
    this.#table = parts.table;
    this.#freshness = parts.freshness;
    this.#press = parts.press;
  }

  /** Adds if there is room in the table now; null if there is none. */
  add(metric: number, subject: Subject, by: number): Added | null {
    this.#table.enter();
    try {
      let slot = this.#table.find(metric, subject);
      if (slot < 0) slot = this.#table.claim(metric, subject);
      if (slot < 0) return null;
      // The base comes later, from Redis: what is added must not wait for it.
      if (!this.#table.isLoaded(slot)) this.#table.install(slot, 0, this.#freshness.begin);
      const count = this.#table.add(slot, by);
      if (count === OWING_TOO_MUCH) return null;
      return { count: Math.min(count, COUNT_MAX), ageMs: this.#freshness.ageMs(slot) };
    } finally {
      this.#table.leave();
    }
  }

  /** Adds while main makes room; 503 when that takes too long. */
  addInTime(metric: number, subject: Subject, by: number): Promise<Added> {
    return untilRoom(this.#press, () => this.add(metric, subject, by));
  }

  /** It shows more than this node has seen: it must be asked for anew. */
  expire(metric: number, subject: Subject): void {
    this.#table.enter();
    try {
      const slot = this.#table.find(metric, subject);
      if (slot >= 0 && this.#table.isLoaded(slot)) this.#freshness.expire(slot);
    } finally {
      this.#table.leave();
    }
  }
}
