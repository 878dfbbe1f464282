import type { Database } from "bun:sqlite";
import { DAY_S, dayOf } from "../arithmetic/days.ts";

/** Rows in one slice. */
const SLICE_ROWS = 1_000;

/**
 * Hours that are older than the history is kept go into one row before all of them, so that a count stays the sum of its
 * history. A slice is one transaction.
 */
export class OldHistory {
  readonly #db: Database;
  readonly #days: number;
  readonly #sql: ReturnType<typeof prepare>;

  constructor(db: Database, days: number) {
    this.#db = db;
    this.#days = days;
    this.#sql = prepare(db);
  }

  /** False: there is nothing to fold. */
  step(nowMs: number): boolean {
    const before = (dayOf(nowMs) - this.#days) * DAY_S;
    const last = this.#sql.last.get(before, SLICE_ROWS - 1) ?? this.#sql.newest.get(before);
    if (!last) return false;
    const range = [last.at, last.subject, last.metric] as const;
    this.#db
      .transaction(() => {
        this.#sql.fold.run(...range);
        this.#sql.remove.run(...range);
      })
      .immediate();
    return true;
  }
}

interface Key {
  at: number;
  subject: string;
  metric: number;
}

function prepare(db: Database) {
  const upTo = "at > 0 AND (at, subject, metric) <= (?, ?, ?)";
  return {
    last: db.prepare<Key, [number, number]>(
      `SELECT at, subject, metric FROM history WHERE at > 0 AND at < ? ORDER BY at, subject, metric LIMIT 1 OFFSET ?`,
    ),
    newest: db.prepare<Key, [number]>(
      `SELECT at, subject, metric FROM history WHERE at > 0 AND at < ?
       ORDER BY at DESC, subject DESC, metric DESC LIMIT 1`,
    ),
    fold: db.prepare<never, [number, string, number]>(
      `INSERT INTO history (at, subject, metric, amount)
       SELECT 0, subject, metric, sum(amount) FROM history WHERE ${upTo} GROUP BY subject, metric
       ON CONFLICT DO UPDATE SET amount = amount + excluded.amount`,
    ),
    remove: db.prepare<never, [number, string, number]>(`DELETE FROM history WHERE ${upTo}`),
  };
}
