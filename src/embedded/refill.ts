import type { Database } from "bun:sqlite";
import { Garbage } from "../lib/garbage.ts";
import type { Filters } from "./filters.ts";

/** Rows in one slice: about 20 ms. */
const SLICE_ROWS = 10_000;
/** Rows between two collections of garbage; without them ten million counters left 1.5 GB behind at each start. */
const COLLECT_EVERY = 50_000;

interface CountKey {
  segment: number;
  subject: string;
  metric: number;
}

/**
 * Fills the filters of an earlier life again, in slices between batches, the newest segment first. Batches that come between
 * add their own bits, and rows that move away only leave bits behind, so the end of the tree is the end of the work.
 *
 * The counts' filter: first `deltas`, then `counts`, because folding moves rows that way, never back.
 */
export class Refill {
  #filters: Filters;
  #segments: number[];
  #sql: ReturnType<typeof prepare>;
  #pair = { actor: "", subject: "" };
  #counts: "deltas" | "counts" | "done";
  #count: CountKey = { segment: 0, subject: "", metric: 0 };
  readonly #garbage = new Garbage(COLLECT_EVERY);

  constructor(db: Database, filters: Filters) {
    this.#filters = filters;
    this.#segments = filters.incomplete();
    this.#counts = filters.areCountsComplete ? "done" : "deltas";
    this.#sql = prepare(db);
  }

  /** One slice; false: all is filled. */
  step(): boolean {
    const segment = this.#segments.at(-1);
    if (segment !== undefined) return this.#stepPairs(segment);
    return this.#counts === "done" ? false : this.#stepCounts();
  }

  #stepCounts(): boolean {
    const { segment, subject, metric } = this.#count;
    const rows =
      this.#counts === "deltas"
        ? this.#sql.deltas.all(segment, subject, metric, SLICE_ROWS)
        : this.#sql.counts.all(subject, metric, SLICE_ROWS);
    for (const row of rows) {
      if (this.#filters.holdCount(row.metric, row.subject)) continue;
      this.#counts = "done"; // and never complete: there is no room
      return true;
    }
    this.#garbage.add(rows.length);
    const last = rows.at(-1);
    if (last && rows.length === SLICE_ROWS) this.#count = last;
    else if (this.#counts === "deltas") {
      this.#counts = "counts";
      this.#count = { segment: 0, subject: "", metric: 0 };
    } else {
      this.#counts = "done";
      this.#filters.setCountsComplete();
    }
    return true;
  }

  #stepPairs(segment: number): boolean {
    const rows = this.#sql.pairs.all(segment, this.#pair.actor, this.#pair.subject, SLICE_ROWS);
    for (const { actor, subject } of rows) {
      this.#filters.aim(actor, subject);
      this.#filters.hold(segment);
    }
    this.#garbage.add(rows.length);
    const last = rows.at(-1);
    if (last && rows.length === SLICE_ROWS) {
      this.#pair = last;
      return true;
    }
    this.#filters.setComplete(segment);
    this.#segments.pop();
    this.#pair = { actor: "", subject: "" };
    return true;
  }
}

function prepare(db: Database) {
  return {
    pairs: db.prepare<{ actor: string; subject: string }, [number, string, string, number]>(
      `SELECT actor, subject FROM relations
       WHERE segment = ? AND (actor, subject) >= (?, ?) ORDER BY actor, subject, metric LIMIT ?`,
    ),
    deltas: db.prepare<CountKey, [number, string, number, number]>(
      `SELECT segment, subject, metric FROM deltas
       WHERE (segment, subject, metric) >= (?, ?, ?) ORDER BY segment, subject, metric, at LIMIT ?`,
    ),
    counts: db.prepare<CountKey, [string, number, number]>(
      `SELECT 0 AS segment, subject, metric FROM counts
       WHERE (subject, metric) >= (?, ?) ORDER BY subject, metric LIMIT ?`,
    ),
  };
}
