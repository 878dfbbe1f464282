import type { Database } from "bun:sqlite";
import { keysFor, LINE_WORDS } from "../lib/bloom.ts";
import type { Filters } from "./filters.ts";
import { keysOf, readSegments, type StoredSegment } from "./stored-segments.ts";

/** One row's bits: a filter is some hundred kilobytes (a segment) to many megabytes (a group). */
const PART_BYTES = 256 * 1024;

type Kind = "segment" | "group";

interface KeptFilter {
  kind: Kind;
  number: number;
  lines: number;
  seed: number;
  covers: number;
}

/**
 * Keeps in the ledger what a start would otherwise have to work out from all rows, a minute at 20 million, in which every
 * like asks a hundred trees. Bits are never taken back, so a filter that was kept when its segment was closed stays true; and
 * as it lies in the ledger itself, it cannot belong to another one.
 */
export class FilterKeeper {
  #db: Database;
  #filters: Filters;
  #sql: ReturnType<typeof prepare>;
  /** The last segment that is kept. */
  #kept: number;

  constructor(db: Database, filters: Filters) {
    this.#db = db;
    this.#filters = filters;
    this.#sql = prepare(db);
    const last = this.#sql.kept.get()?.last ?? -1;
    // What could not be restored is of no use any more: all are kept anew once they are filled.
    this.#kept = filters.incomplete().some((segment) => segment <= last) ? -1 : last;
  }

  /** Keeps the segments that were closed since, and the groups they are in; false: there are none. */
  step(current: number): boolean {
    const last = current - 1;
    if (last <= this.#kept) return false;
    // Those of an earlier life first have to be filled again.
    if (this.#filters.incomplete().some((segment) => segment <= last)) return false;
    this.#db
      .transaction(() => {
        if (this.#kept < 0) {
          this.#sql.forgetParts.run();
          this.#sql.forget.run();
        }
        for (let segment = this.#kept + 1; segment <= last; segment++) {
          this.#keep("segment", segment, segment, last);
          const group = this.#filters.groupOf(segment);
          const isItsLast = segment === last || this.#filters.groupOf(segment + 1) !== group;
          if (isItsLast) this.#keep("group", group, this.#filters.groupStart(group), segment);
        }
      })
      .immediate();
    this.#kept = last;
    return true;
  }

  /** Those that are kept may lack something: they go, and all are kept anew once they are filled. */
  forget(): void {
    this.#kept = -1;
    this.#db
      .transaction(() => {
        this.#sql.forgetParts.run();
        this.#sql.forget.run();
      })
      .immediate();
  }

  #keep(kind: Kind, index: number, number: number, covers: number): void {
    const bits = this.#filters.bitsOf(kind, index);
    this.#sql.keep.run(kind, number, bits.length / (LINE_WORDS * 4), this.#filters.seed, covers);
    for (let part = 0; part * PART_BYTES < bits.length; part++) {
      // A copy: what is bound must not be shared memory.
      this.#sql.keepPart.run(kind, number, part, bits.slice(part * PART_BYTES, (part + 1) * PART_BYTES));
    }
  }
}

/** The seed of the filters that are kept; undefined: there are none. */
export function keptSeed(db: Database): number | undefined {
  return db.query<{ seed: number }, []>("SELECT seed FROM filters LIMIT 1").get()?.seed;
}

/**
 * Groups and segments as they were kept; those after the last one kept are empty and to be filled again. False, and nothing
 * done, where what is kept is not of a piece: then all are.
 */
export function restoreFilters(db: Database, filters: Filters, stored: StoredSegment[]): boolean {
  const kept = readKept(db, filters.seed, stored);
  const lastStored = stored.at(-1);
  if (!kept || !lastStored) return false;
  let group = 0;
  for (const segment of stored) {
    const opens = kept.groups[group];
    if (opens?.number === segment.segment) {
      filters.addGroup(keysFor(opens.lines), false);
      restore(db, opens, filters.bitsOf("group", group++));
    }
    const own = kept.segments[segment.segment];
    filters.addSegment(own ? keysFor(own.lines) : keysOf(segment, lastStored), segment, own !== undefined);
    if (own) restore(db, own, filters.bitsOf("segment", segment.segment));
  }
  for (let i = 0; i < filters.groupCount; i++) filters.settleGroup(i);
  return true;
}

/** The bits that the next start would believe, for who compares them with the rows. Segments in ascending order. */
export class KeptBits {
  readonly #db: Database;
  readonly #kept: Kept | null;
  /** The last one stays in memory: it is of many segments. */
  #group: { number: number; bits: Int32Array } | null = null;

  constructor(db: Database, seed: number) {
    this.#db = db;
    this.#kept = db.transaction(() => readKept(db, seed, readSegments(db)))();
  }

  /** Those of the segment and of its group; empty where they are not kept (any more). */
  of(segment: number): Int32Array[] {
    const own = this.#kept?.segments[segment];
    const group = this.#kept?.groups.findLast(({ number }) => number <= segment);
    if (!own || !group) return [];
    if (this.#group?.number !== group.number) {
      const bits = this.#read(group);
      this.#group = bits && { number: group.number, bits };
    }
    const bits = this.#read(own);
    return bits && this.#group ? [bits, this.#group.bits] : [];
  }

  #read(kept: KeptFilter): Int32Array | null {
    const bits = new Uint8Array(kept.lines * LINE_WORDS * 4);
    return restore(this.#db, kept, bits) === bits.length ? new Int32Array(bits.buffer) : null;
  }
}

interface Kept {
  groups: KeptFilter[];
  segments: KeptFilter[];
}

/** Null where it is not of a piece. */
function readKept(db: Database, seed: number, stored: StoredSegment[]): Kept | null {
  const kept = db
    .query<KeptFilter & { bytes: number }, []>(
      `SELECT filters.*, (SELECT sum(length(bits)) FROM filter_parts AS parts
         WHERE parts.kind = filters.kind AND parts.number = filters.number) AS bytes
       FROM filters ORDER BY number`,
    )
    .all();
  const groups = kept.filter(({ kind }) => kind === "group");
  const segments = kept.filter(({ kind }) => kind === "segment");
  const last = groups.at(-1)?.covers ?? -1;
  const isWhole =
    groups[0]?.number === 0 &&
    kept.every((it) => it.seed === seed && it.bytes === it.lines * LINE_WORDS * 4 && it.lines > 0) &&
    segments.length === last + 1 &&
    segments.every(({ number }, i) => number === i) &&
    groups.every(({ covers }, i) => covers === (groups[i + 1]?.number ?? last + 1) - 1);
  return isWhole && last < stored.length ? { groups, segments } : null;
}

/** How many bytes there were. */
function restore(db: Database, { kind, number }: KeptFilter, into: Uint8Array): number {
  if (into.length === 0) return 0; // there was no room: it says "maybe"
  const parts = db.query<{ part: number; bits: Uint8Array }, [string, number]>(
    "SELECT part, bits FROM filter_parts WHERE kind = ? AND number = ? ORDER BY part",
  );
  let bytes = 0;
  for (const { part, bits } of parts.all(kind, number)) {
    into.set(bits, part * PART_BYTES);
    bytes += bits.length;
  }
  return bytes;
}

function prepare(db: Database) {
  return {
    kept: db.prepare<{ last: number | null }, []>("SELECT max(number) AS last FROM filters WHERE kind = 'segment'"),
    forget: db.prepare<never, []>("DELETE FROM filters"),
    forgetParts: db.prepare<never, []>("DELETE FROM filter_parts"),
    keep: db.prepare<never, [Kind, number, number, number, number]>(
      "INSERT OR REPLACE INTO filters (kind, number, lines, seed, covers) VALUES (?, ?, ?, ?, ?)",
    ),
    keepPart: db.prepare<never, [Kind, number, number, Uint8Array]>(
      "INSERT OR REPLACE INTO filter_parts (kind, number, part, bits) VALUES (?, ?, ?, ?)",
    ),
  };
}
