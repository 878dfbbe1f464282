import type { Database } from "bun:sqlite";
import type { Stamp } from "../arithmetic/stamp.ts";

/** A batch goes into the segment that has room when it begins; by so many rows it may overfill it. */
const OVERFILL_ROWS = 120_000;

export interface Segment {
  segment: number;
  capacity: number;
  rows: number;
}

/** A row of the table. */
export interface StoredSegment extends Segment {
  stampMin: Stamp;
  stampMax: Stamp;
}

export function readSegments(db: Database): StoredSegment[] {
  const stored = db
    .query<StoredSegment, []>(
      "SELECT segment, capacity, rows, stamp_min AS stampMin, stamp_max AS stampMax FROM segments ORDER BY segment",
    )
    .all();
  const gap = stored.findIndex(({ segment }, i) => segment !== i);
  if (gap >= 0) throw new Error(`the ledger lacks segment ${gap}`);
  return stored;
}

/** How many keys the filter of an open segment must have room for. */
export function withOverfill(capacity: number): number {
  return capacity + Math.min(OVERFILL_ROWS, capacity);
}

/** What its filter must have room for: the last segment is not closed yet. */
export function keysOf(segment: StoredSegment, last: StoredSegment): number {
  return segment === last ? withOverfill(Math.max(segment.capacity, segment.rows)) : segment.rows;
}
