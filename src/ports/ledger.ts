import type { Place } from "../arithmetic/place.ts";
import type { Stamp } from "../arithmetic/stamp.ts";
import type { Sketch } from "../distinct/sketch.ts";
import type { Actor, Subject } from "../model.ts";
import type { JobRecord } from "../records.ts";
import type { Position } from "./log.ts";

type Awaitable<T> = T | Promise<T>;

/** A key that named an act, as it was stored. */
export interface StoredKey {
  /** 32 hex digits. */
  key: string;
  /** 16 hex digits: the hash of the body it came with. */
  body: string;
  /** Milliseconds since 1970. */
  atMs: number;
}

/** What the ledger knows of one shard. */
export interface ShardState {
  version: number;
  stampMax: Stamp;
}

/** The last number decided of one source on one shard. */
export interface SourceState {
  source: string;
  shard: number;
  last: number;
}

/**
 * The truth about the past: everything up to `position()` in the log, and nothing else.
 *
 * Promises:
 * - each call sees one whole commit or none of it; `snapshot` gives several calls the same one;
 * - ids are compared byte by byte;
 * - a subject, an actor or a register that never was is 0 or empty, never an error;
 * - lists hold active registers only, in the order of `newestFirst`, and begin behind `before`.
 */
export interface LedgerReader {
  /** The log position up to which everything is in. */
  position(): Awaitable<Position>;
  count(metric: number, subject: Subject): Awaitable<number>;
  /** Every count of the subject that was ever stored. */
  countsOf(subject: Subject): Awaitable<[metric: number, count: number][]>;
  /** 0 where the actor never acted. */
  register(metric: number, subject: Subject, actor: Actor): Awaitable<Stamp>;
  registersOf(subject: Subject, actor: Actor): Awaitable<[metric: number, stamp: Stamp][]>;
  newestActors(metric: number, subject: Subject, before: Place, limit: number): Awaitable<Place[]>;
  newestSubjects(metric: number, actor: Actor, before: Place, limit: number, type?: string): Awaitable<Place[]>;
  /** Who counted, of a distinct tally: on a day (since 1970), or of ALL_TIME; null where nobody did, or the day is long over. */
  sketch(metric: number, subject: Subject, day: number): Awaitable<Sketch | null>;
  /** On how many subjects (of that type) the actor has the relation active. */
  actorCount(metric: number, actor: Actor, type?: string): Awaitable<number>;
  /**
   * By how much the count changed in each hour (its first second since 1970) from `from` on and before `to`, in their order;
   * hours without a change are left out.
   */
  history(metric: number, subject: Subject, from: number, to: number): Awaitable<[at: number, amount: number][]>;
  /** The keys of the last 10 minutes and perhaps some older ones, the oldest first. */
  recentKeys(nowMs: number): Awaitable<StoredKey[]>;
  /** 256 of them, by shard. */
  shards(): Awaitable<ShardState[]>;
  sources(): Awaitable<SourceState[]>;
}

/** One register with the highest stamp the batch has for it. */
export interface RegisterChange {
  shard: number;
  metric: number;
  subject: Subject;
  actor: Actor;
  stamp: Stamp;
  /** Of another time: nobody is told what it makes of the count. */
  past?: boolean | undefined;
  /** Lower stamps that the register has had in the batch before this one, in their order. */
  way?: Stamp[];
}

/** A set in log order: the total, `added` more than after the set before it, becomes `count`. */
interface TallySet {
  added: number;
  count: number;
  /** The minute its difference falls in. */
  step: number;
}

export interface TallyChange {
  shard: number;
  metric: number;
  subject: Subject;
  /** Added after the last set, or in all where there is none. */
  added: number;
  sets: TallySet[] | null;
  /** How much of all that was added is of another time. */
  past?: number;
  /** Amounts by minute (its first second since 1970), without the differences of sets. */
  steps: [step: number, amount: number][];
}

/** Visitors of one tally of one subject, for its sketches. */
export interface VisitChange {
  shard: number;
  metric: number;
  subject: Subject;
  /** Code and day (since 1970) of each visit. */
  visits: [code: number, day: number][];
}

/** Records that were in the log's numbers but never in the log: found by a gap, gone for good. */
export interface Loss {
  source: string;
  shard: number;
  /** The first and the last number that is missing. */
  from: number;
  to: number;
}

/** A job and whose record it is. */
export type PlacedJob = JobRecord & { source: string };

/** A run of log frames, decided and folded: what one transaction stores. Lists are sorted as the stores like it. */
export interface Batch {
  /** Up to where the ledger has the log after it. */
  position: Position;
  nowMs: number;
  records: number;
  /** By actor, subject, metric. */
  registers: RegisterChange[];
  /** By subject, metric. */
  tallies: TallyChange[];
  /** By subject, metric. */
  visits: VisitChange[];
  keys: StoredKey[];
  sources: SourceState[];
  /** The shards whose version rises, with the highest stamp the batch has for them (0: none). */
  shards: [shard: number, stampMax: Stamp][];
  losses: Loss[];
  /** What is done to all that the ledger has with the rest of the batch, in this order. */
  jobs: PlacedJob[];
}

/** What an applied batch was. */
export interface Applied {
  /** Registers that are new or changed, and counts written. */
  registers: number;
  counts: number;
}

/** The ledger could not be written for a reason outside (no room, not permitted, away); nothing of the batch is stored. */
export class LedgerUnavailable extends Error {}

/**
 * The one writer of a ledger: the projector.
 *
 * Promises:
 * - `apply` is one transaction: all of the batch with its position, or nothing (it throws);
 * - a count never goes below 0, and that of a relation is the number of its active registers;
 * - what `apply` has returned every reader sees; a power cut may take it back, whole batches and the newest first, except
 *   what lies at or behind the position `makeDurable` has returned.
 */
export interface LedgerWriter {
  position(): Position;
  /** The last number decided, 0 for a source never seen. */
  last(source: string, shard: number): number;
  apply(batch: Batch): Awaitable<Applied>;
  /** Everything applied is on disk: its position. The log may be cut behind it. */
  makeDurable(): Awaitable<Position>;
  /** A slice of the work that can wait, some 20 ms; `isBusy`: only of what must not wait much longer. False: there is none. */
  tidy(nowMs: number, isBusy: boolean): Awaitable<boolean>;
  close(): Awaitable<void>;
}
