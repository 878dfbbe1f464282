import type { Database } from "bun:sqlite";
import type { Stamp } from "../arithmetic/stamp.ts";
import { type Filters, GROUP_ROWS, SEGMENTS_MAX } from "./filters.ts";
import { restoreFilters } from "./kept-filters.ts";
import { keysOf, readSegments, type Segment, type StoredSegment, withOverfill } from "./stored-segments.ts";

/**
 * A segment is closed at this many rows. A batch touches nearly every page of its segment's three trees (9 MB), and that
 * is what a row costs: for a million likes in batches of 25,000, segments of 125,000 rows took 6.2 µs of processor a row and
 * wrote 1 GB, those of 1,000,000 rows 12.2 µs and 4.6 GB.
 */
const SEGMENT_ROWS = 125_000;
/** Later ones take a 64th of all rows, since a list may have to ask each segment: about 120 at 20 million rows. */
const SEGMENT_SHARE = 64;

/**
 * The time partitions of `relations` as their one writer knows them. What a transaction changes is kept apart and taken
 * over after its commit, so that a rollback leaves nothing behind but a filter that says "maybe" a little more often.
 */
export class Segments {
  #filters: Filters;
  #segments: Segment[];
  #rowsMin: number;
  /** Rows added by the transaction that runs, by segment: not stored yet, and stored. */
  #added = new Map<number, number>();
  #storedRows = new Map<number, number>();
  /** So many segments the ledger has; those behind them came with a transaction that failed, or with this one. */
  #known: number;
  #upsert;

  constructor(db: Database, filters: Filters, rowsMin = SEGMENT_ROWS) {
    this.#filters = filters;
    this.#rowsMin = rowsMin;
    this.#segments = loadSegments(db, filters);
    this.#known = readSegments(db).length;
    this.#upsert = db.prepare<never, [number, number, number, Stamp, Stamp]>(
      `INSERT INTO segments (segment, capacity, rows, stamp_min, stamp_max) VALUES (?, ?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET rows = rows + excluded.rows, stamp_min = excluded.stamp_min, stamp_max = excluded.stamp_max`,
    );
  }

  get current(): number {
    return this.#segments.length - 1;
  }

  get rows(): number {
    return this.#segments.reduce((sum, { rows }) => sum + rows, 0);
  }

  /** Before a transaction; where it brings rows and the current segment is full, the next one begins. */
  begin(bringsRows: boolean): void {
    this.#added.clear();
    this.#storedRows.clear();
    if (bringsRows) this.roll();
  }

  /** Begins the next segment where the current one is full; in the midst of a transaction after `store`. */
  roll(): void {
    const last = this.#segments.at(-1);
    const rows = last ? last.rows + (this.#storedRows.get(last.segment) ?? 0) : 0;
    if (last && (rows < last.capacity || this.#segments.length >= SEGMENTS_MAX)) return;
    const capacity = Math.max(this.#rowsMin, Math.ceil(this.rows / SEGMENT_SHARE));
    const range = { stampMin: Number.MAX_SAFE_INTEGER, stampMax: 0 };
    this.#addGroupFor(capacity);
    const segment = this.#filters.addSegment(withOverfill(capacity), range, true);
    this.#segments.push({ segment, capacity, rows: 0 });
  }

  count(segment: number, rows: number): void {
    this.#added.set(segment, (this.#added.get(segment) ?? 0) + rows);
  }

  /** In the transaction, more than once if it likes. */
  store(): void {
    // None is left out, also where nothing came into it: their numbers have no gap.
    for (const { segment } of this.#segments.slice(this.#known)) {
      if (!this.#added.has(segment) && !this.#storedRows.has(segment)) this.#added.set(segment, 0);
    }
    for (const [segment, added] of this.#added) {
      const { capacity } = this.#segments[segment] as Segment;
      this.#upsert.run(segment, capacity, added, this.#filters.stampMin(segment), this.#filters.stampMax(segment));
      this.#storedRows.set(segment, (this.#storedRows.get(segment) ?? 0) + added);
    }
    this.#added.clear();
  }

  committed(): void {
    for (const [segment, rows] of this.#storedRows) (this.#segments[segment] as Segment).rows += rows;
    this.#storedRows.clear();
    this.#known = this.#segments.length;
  }

  /** Where the last group is full, another one, as large as all before it together. */
  #addGroupFor(capacity: number): void {
    const filters = this.#filters;
    const group = filters.groupCount - 1;
    if (group >= 0) {
      const held = this.#segments.slice(filters.groupStart(group)).reduce((sum, { rows }) => sum + rows, 0);
      if (held + withOverfill(capacity) <= filters.groupKeys(group)) return;
    }
    filters.addGroup(Math.max(GROUP_ROWS, this.rows, withOverfill(capacity)), true);
  }
}

/**
 * The segments in the ledger, made known to the filters where those are new. A projector that takes over from one that
 * died in this process finds them there already, perhaps with one more that was never committed: it stays, empty.
 */
export function loadSegments(db: Database, filters: Filters): Segment[] {
  const stored = readSegments(db);
  if (filters.segmentCount === 0 && !restoreFilters(db, filters, stored)) addEmpty(filters, stored);
  const segments = stored.map(({ segment, capacity, rows }) => ({ segment, capacity, rows }));
  while (segments.length < filters.segmentCount) {
    segments.push({ segment: segments.length, capacity: SEGMENT_ROWS, rows: 0 });
  }
  return segments;
}

/** Filters that are still to be filled from the rows (refill.ts), all in one group. */
function addEmpty(filters: Filters, stored: StoredSegment[]): void {
  const last = stored.at(-1);
  if (!last) return;
  const rows = stored.reduce((sum, segment) => sum + segment.rows, 0);
  filters.addGroup(rows + withOverfill(last.capacity), false);
  for (const segment of stored) filters.addSegment(keysOf(segment, last), segment, false);
}
