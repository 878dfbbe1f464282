import type { Database } from "bun:sqlite";
import { hourOf } from "../arithmetic/windows.ts";
import type { TallyChange } from "../ports/ledger.ts";

/**
 * A segment is closed at this many rows, later ones at a 64th of all counts. Counts changed one by one all over a tree of
 * millions wrote 2.7 KB to disk for each at 2.4 million subjects, and rising, since each is on another page; a segment's
 * pages are few, and folding reaches every page of the big trees once for many changes.
 */
const SEGMENT_ROWS = 125_000;
const SEGMENT_SHARE = 64;
/** Closed segments are folded when there are so many and nothing else is to do, or so many that it cannot wait. */
const FOLD_FROM = 8;
const FOLD_AT_LATEST = 32;
/** Rows of each segment in one slice of folding. */
const SLICE_ROWS = 500;

/** The sum of a count's deltas, as a subquery of ?1 (subject) and ?2 (metric). */
const DELTA_SUM = `(SELECT sum(amount) FROM delta_segments CROSS JOIN deltas USING (segment)
  WHERE deltas.subject = ?1 AND deltas.metric = ?2)`;
/** A count as one number. */
export const COUNT = `coalesce((SELECT count FROM counts WHERE subject = ?1 AND metric = ?2), 0) + coalesce(${DELTA_SUM}, 0)`;

export interface DeltaBounds {
  segmentRows?: number;
  foldFrom?: number;
}

/**
 * All counts as their one writer changes them: first into the current segment of `deltas`, much later, in the order of the
 * subjects and in slices, from the closed segments into `counts` and `history`. A slice is one transaction, and begins again
 * at the first subject that is left: wherever it is broken off, nothing is folded twice.
 */
export class Deltas {
  #sql: ReturnType<typeof prepare>;
  #segments: number[];
  /** Rows of the current segment at most: changes of one that is there count too, until it looks full. */
  #rows: number;
  #rowsMax: number;
  #foldFrom: number;
  #rolls = false;
  #rowsAdded = 0;
  /** The last subject that was folded from the segments up to `#foldTo`. */
  #folded = "";
  #foldTo = -1;

  constructor(db: Database, bounds: DeltaBounds = {}) {
    this.#sql = prepare(db);
    this.#rowsMax = bounds.segmentRows ?? SEGMENT_ROWS;
    this.#foldFrom = bounds.foldFrom ?? FOLD_FROM;
    this.#segments = this.#sql.segments.all().map(({ segment }) => segment);
    this.#rows = this.#countRows();
  }

  /** In the transaction, before anything is added; `counts` is about how many counts there are in all. */
  begin(counts: number): void {
    this.#rowsAdded = 0;
    const rowsMax = Math.max(this.#rowsMax, counts / SEGMENT_SHARE);
    if (this.#rows >= rowsMax) this.#rows = this.#countRows();
    const isFull = this.#rows >= rowsMax;
    this.#rolls = this.#segments.length === 0 || (isFull && this.#segments.length <= FOLD_AT_LATEST);
    if (this.#rolls) this.#sql.addSegment.run(this.#current);
  }

  committed(): void {
    if (this.#rolls) {
      this.#segments.push(this.#current);
      this.#rows = 0;
    }
    this.#rolls = false;
    this.#rows += this.#rowsAdded;
  }

  add(subject: string, metric: number, minute: number, amount: number): void {
    this.#rowsAdded++;
    this.#sql.add.run(this.#target, subject, metric, hourOf(minute), amount);
  }

  /** `tell`: what is added in which minute. */
  tally(change: TallyChange, tell: (minute: number, amount: number) => void): void {
    if (change.sets) this.#set(change, change.sets, tell);
    for (const [minute, amount] of change.steps) {
      this.add(change.subject, change.metric, minute, amount);
      tell(minute, amount);
    }
  }

  /** A slice of folding, a transaction of its own; false: there is nothing to fold now. `isBusy`: only what cannot wait. */
  fold(db: Database, isBusy: boolean): boolean {
    const closed = this.#segments.length - 1;
    if (this.#foldTo < 0) {
      if (closed < (isBusy ? FOLD_AT_LATEST : this.#foldFrom)) return false;
      this.#foldTo = this.#segments[closed - 1] as number;
      this.#folded = "";
    } else if (isBusy && closed < FOLD_AT_LATEST) return false;
    const to = this.#sliceEnd();
    this.#sql.begin.run();
    try {
      if (to === null) this.#sql.dropSegments.run(this.#foldTo);
      else this.#foldUpTo(to);
      this.#sql.commit.run();
    } catch (error) {
      if (db.inTransaction) this.#sql.rollback.run();
      throw error;
    }
    if (to === null) {
      this.#segments = this.#segments.filter((segment) => segment > this.#foldTo);
      this.#foldTo = -1;
    } else this.#folded = to;
    return true;
  }

  #foldUpTo(to: string): void {
    const range = [this.#foldTo, this.#folded, to] as const;
    this.#sql.foldCounts.run(...range);
    this.#sql.foldHistory.run(...range);
    // The big trees are what the counts were when the newest of these segments was closed.
    const below = this.#sql.below.get(this.#folded, to);
    if (below) throw new Error(`the count of metric ${below.metric} on ${below.subject} is below 0`);
    for (const segment of this.#segments) if (segment <= this.#foldTo) this.#sql.remove.run(segment, this.#folded, to);
  }

  /** Up to this subject no segment has more than a slice's rows left; null: none has any. */
  #sliceEnd(): string | null {
    let end: string | null = null;
    let last: string | null = null;
    for (const segment of this.#segments) {
      if (segment > this.#foldTo) continue;
      const far = this.#sql.ahead.get(segment, this.#folded, SLICE_ROWS)?.subject;
      if (far !== undefined && (end === null || far < end)) end = far;
      const most = this.#sql.last.get(segment, this.#folded)?.subject;
      if (most !== undefined && (last === null || most > last)) last = most;
    }
    return end ?? last;
  }

  #set(
    { subject, metric }: TallyChange,
    sets: NonNullable<TallyChange["sets"]>,
    tell: (minute: number, amount: number) => void,
  ): void {
    let before = 0;
    for (const [i, { added, count, step }] of sets.entries()) {
      // The first one's difference is to what the ledger has: worked out there, exact beyond 2^53 too.
      if (i === 0) {
        before = this.#sql.count.get(subject, metric)?.count ?? 0;
        this.#sql.set.run(subject, metric, this.#target, hourOf(step), count, added);
      } else this.add(subject, metric, step, count - before - added);
      tell(step, count - before - added);
      before = count;
    }
  }

  #countRows(): number {
    return this.#sql.rows.get(this.#segments.at(-1) ?? -1)?.rows ?? 0;
  }

  get #current(): number {
    return (this.#segments.at(-1) ?? -1) + 1;
  }

  get #target(): number {
    return this.#rolls ? this.#current : (this.#segments.at(-1) as number);
  }
}

function prepare(db: Database) {
  const range = `FROM delta_segments CROSS JOIN deltas USING (segment)
    WHERE segment <= ?1 AND deltas.subject > ?2 AND deltas.subject <= ?3`;
  return {
    begin: db.prepare<never, []>("BEGIN IMMEDIATE"),
    commit: db.prepare<never, []>("COMMIT"),
    rollback: db.prepare<never, []>("ROLLBACK"),
    segments: db.prepare<{ segment: number }, []>("SELECT segment FROM delta_segments ORDER BY segment"),
    rows: db.prepare<{ rows: number }, [number]>("SELECT count(*) AS rows FROM deltas WHERE segment = ?"),
    addSegment: db.prepare<never, [number]>("INSERT INTO delta_segments (segment) VALUES (?)"),
    add: db.prepare<never, [number, string, number, number, number]>(
      `INSERT INTO deltas (segment, subject, metric, at, amount) VALUES (?, ?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET amount = amount + excluded.amount`,
    ),
    set: db.prepare<never, [string, number, number, number, number, number]>(
      `INSERT INTO deltas (segment, subject, metric, at, amount)
       VALUES (?3, ?1, ?2, ?4, CAST(?5 AS INTEGER) - CAST(?6 AS INTEGER) - (${COUNT}))
       ON CONFLICT DO UPDATE SET amount = amount + excluded.amount`,
    ),
    count: db.prepare<{ count: number }, [string, number]>(`SELECT ${COUNT} AS count`),
    ahead: db.prepare<{ subject: string }, [number, string, number]>(
      "SELECT subject FROM deltas WHERE segment = ? AND subject > ? ORDER BY subject LIMIT 1 OFFSET ?",
    ),
    last: db.prepare<{ subject: string }, [number, string]>(
      "SELECT subject FROM deltas WHERE segment = ? AND subject > ? ORDER BY subject DESC LIMIT 1",
    ),
    foldCounts: db.prepare<never, [number, string, string]>(
      `INSERT INTO counts (subject, metric, count) SELECT subject, metric, sum(amount) ${range} GROUP BY subject, metric
       ON CONFLICT DO UPDATE SET count = count + excluded.count`,
    ),
    foldHistory: db.prepare<never, [number, string, string]>(
      `INSERT INTO history (at, subject, metric, amount)
       SELECT at, subject, metric, sum(amount) ${range} AND at > 0 GROUP BY at, subject, metric
       ON CONFLICT DO UPDATE SET amount = amount + excluded.amount`,
    ),
    below: db.prepare<{ subject: string; metric: number }, [string, string]>(
      "SELECT subject, metric FROM counts WHERE subject > ? AND subject <= ? AND count < 0 LIMIT 1",
    ),
    remove: db.prepare<never, [number, string, string]>(
      "DELETE FROM deltas WHERE segment = ? AND subject > ? AND subject <= ?",
    ),
    dropSegments: db.prepare<never, [number]>("DELETE FROM delta_segments WHERE segment <= ?"),
  };
}
