import type { Place } from "../arithmetic/place.ts";
import type { Stamp } from "../arithmetic/stamp.ts";
import type { SketchName, StoredPair } from "../distinct/sketches.ts";
import type { Actor, Subject } from "../model.ts";
import type { CountName, RegisterName, ShardVersion } from "../ports/hot-store.ts";
import type { ShardState, SourceState } from "../ports/ledger.ts";
import type { NoticeKind } from "./mysql/notices.ts";

/** Of some lists of actors, those whom one actor follows: whose `relation` he has active on `type/…`. */
export interface KnownQuestion {
  actor: Actor;
  relation: number;
  type: string;
  /** Lists whose actors are looked up among the followed. */
  walked: readonly CountName[];
  /** Lists in which each one followed is looked up. */
  looked: readonly CountName[];
  /** Registers to be told as they are. */
  registers: readonly RegisterName[];
}

/** Counts, and of acts on the way to them all that says what they will add. */
export interface LedgerMoment {
  bases: { count: number; incarnation: string; version: number }[];
  stamps: Stamp[];
  /** Whether the key has been taken. */
  stored: boolean[];
  /** What is decided of the sources. */
  last: SourceState[];
}

/**
 * What a node asks of the shared ledger. Each call sees one snapshot; all reject with LedgerUnavailable where it cannot be asked.
 */
export interface SharedLedger {
  /** Registers (0: never was) and the version of their shards. */
  hints(registers: readonly (RegisterName & { shard: number })[]): Promise<{ stamp: Stamp; version: number }[]>;
  /** Every register, tombstones too, page by page. Each page is a snapshot of its own: what comes meanwhile may be missing. */
  everyRegister(): AsyncGenerator<RegisterName[]>;
  /** What the actor did up to this stamp, in this shard, is erased. */
  floorOf(shard: number, actor: Actor): Promise<Stamp>;
  /** The highest of all such stamps. */
  highestFloor(): Promise<Stamp>;
  /** What the records of a source have erased; of merges those that were too much, and not done. */
  erased(source: string): Promise<{ shard: number; n: number; metric: number; count: number }[]>;
  /** Counts and the version of their shards. */
  bases(
    counts: readonly (CountName & { shard: number })[],
  ): Promise<{ count: number; incarnation: string; version: number }[]>;
  /** All of it at one moment. */
  moment(asked: {
    counts: readonly (CountName & { shard: number })[];
    registers: readonly RegisterName[];
    keys: readonly string[];
    sources: readonly string[];
  }): Promise<LedgerMoment>;
  /** Of `sources` it has the last numbers though they may have retired, of others only where they have not. */
  versionOf(
    shard: number,
    registers: readonly RegisterName[],
    keys: readonly string[],
    sources?: readonly string[],
  ): Promise<{ version: ShardVersion; stamps: Stamp[]; stored: boolean[] }>;
  /** What is decided of sources, retired or not; nothing of a shard is 0. */
  lastOf(sources: readonly string[]): Promise<SourceState[]>;
  /** Up to which offset each partition of the log is in. */
  positions(): Promise<Map<number, number>>;
  newestActors(metric: number, subject: Subject, before: Place, limit: number): Promise<Place[]>;
  newestSubjects(metric: number, actor: Actor, before: Place, limit: number, type?: string): Promise<Place[]>;
  /** Active registers of the lists whose actors are followed, and the registers that were asked for. */
  knownActors(question: KnownQuestion): Promise<{ listed: [RegisterName, Stamp][]; stored: [RegisterName, Stamp][] }>;
  /** The registers of an actor on any of the subjects. */
  registersOfActor(
    actor: Actor,
    subjects: readonly Subject[],
  ): Promise<[subject: Subject, metric: number, stamp: Stamp][]>;
  /** The first subjects between two that ever had a count, in order, with their counts. */
  countedSubjects(range: {
    after: Subject;
    below: Subject;
    limit: number;
  }): Promise<Map<Subject, [metric: number, count: number][]>>;
  actorCount(metric: number, actor: Actor, type?: string): Promise<number>;
  /** The same, corrected by registers that are on their way where they are newer. */
  actorCountWith(
    metric: number,
    actor: Actor,
    type: string | undefined,
    onTheWay: readonly { id: Subject; stamp: Stamp }[],
  ): Promise<number>;
  /** The sketches of a day and of all time. */
  sketches(names: readonly (SketchName & { day: number })[]): Promise<StoredPair[]>;
  /** A key of the last 10 minutes, or null, and the version of the shard of what it names. */
  keyHint(shard: number, key: string): Promise<{ known: { body: string; atMs: number } | null; version: number }>;
  /** As `LedgerReader.history`. */
  history(metric: number, subject: Subject, from: number, to: number): Promise<[at: number, amount: number][]>;
  /** Whether a node tells that it has acts of this kind (`Notice`). */
  hasNotices(kind: NoticeKind): Promise<boolean>;
  /** All shards, and which ledger it is. */
  shards(): Promise<(ShardState & { incarnation: string })[]>;
  close(): void;
}
