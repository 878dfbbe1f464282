import type { Stamp } from "../arithmetic/stamp.ts";
import type { Actor, Subject } from "../model.ts";
import type { SourceState } from "./ledger.ts";

/** A count's name: what it is counted for, and what is counted. */
export interface CountName {
  metric: number;
  subject: Subject;
}

/** A register's name. */
export interface RegisterName extends CountName {
  actor: Actor;
}

/** The store cannot be asked now, or did not answer in time: what was sent may or may not have taken effect. */
export class HotStoreAway extends Error {}

/** It is there and refuses to write: full, or for another reason that passes. */
export class HotStoreRefuses extends HotStoreAway {}

/** Ends from here on are not known: no log is that long. Above it each is another one, so that `setEnd` can tell them apart. */
export const NO_END = 2 ** 60;

/** What a shard's copy says of itself. */
export interface ShardHead {
  /** The ledger's incarnation and version that the bases are of. */
  incarnation: string;
  version: number;
  /** The ledger's position in the shard's partition of the log, at that version. */
  position: number;
  /**
   * The partition's end, read after this copy came into being (or after data was found lost): settled when `position` has
   * passed it. NO_END or more until it has been read.
   */
  end: number;
  /** New whenever data was lost: who sees a new one sends again what the ledger does not have. */
  epoch: string;
}

/** Which ledger it is, and the version of one of its shards. */
export type LedgerState = Pick<ShardHead, "incarnation" | "version">;

/** Whether a copy lacks what the ledger had when `ledger` was read: it is behind, or of another ledger. */
export function isBehind(head: LedgerState, ledger: LedgerState): boolean {
  return head.incarnation !== ledger.incarnation || head.version < ledger.version;
}

/**
 * Whether a copy is of a ledger that is no more: an older one is in its place, restored from a backup or by a replica that
 * lacked the last commits, or another one altogether. `ledger` must have been read after the head: a copy is told of a commit
 * only after it is made.
 */
export function isAbandoned(head: LedgerState, ledger: LedgerState): boolean {
  return head.incarnation !== ledger.incarnation || head.version > ledger.version;
}

export function isSameState(one: LedgerState | undefined, other: LedgerState | undefined): boolean {
  return one?.incarnation === other?.incarnation && one?.version === other?.version;
}

/** What one ledger snapshot says of a shard: `LedgerVersion` of arithmetic/shard.ts with its names in the stores. */
export interface ShardVersion {
  shard: number;
  incarnation: string;
  version: number;
  position: number;
  /** The last n decided of each source that has not retired, and of those retired that were asked for. */
  last: [source: string, n: number][];
}

/** After a commit of the projector: what it changed in one shard. */
export interface ShardCommit {
  shard: number;
  incarnation: string;
  /** The version after the commit; it takes effect only on `version - 1`. */
  version: number;
  position: number;
  /** The last n of the sources that the commit touched. */
  last: [source: string, n: number][];
  /** The touched counts, absolute. */
  counts: [metric: number, subject: Subject, count: number][];
  /** The touched registers with the stamp that the ledger has now; `past`: how the count moved, by an act of another time. */
  registers: [metric: number, subject: Subject, actor: Actor, stamp: Stamp, past?: number][];
  /** The groups (see `TallyGroup`) whose last number the commit has decided: source and that number. */
  groups: [source: string, n: number][];
  /** Keys of increments that the commit has decided. */
  keys: string[];
  /** Tallies of another time, if any; and which of `keys` and of `groups` (as "n source") are such. */
  past?: { tallies: [metric: number, subject: Subject, amount: number][]; names: string[] };
}

/**
 * Up to where a count that was read has the moves by acts of another time. Each of them is told in its shard, in the step that
 * makes it; but not what a copy takes in by catching up with commits that it missed.
 */
export interface PastPlace {
  shard: number;
  epoch: string;
  /** How many there were. */
  number: number;
}

/** Behind one place, up to another one. */
export interface PastSpan {
  shard: number;
  epoch: string;
  from: number;
  to: number;
}

/** The moves from number `first` on; those before it are not known any more. A count is named by `metric:type/id`. */
export interface PastMoves {
  first: number;
  moves: [count: string, by: number][];
}

/**
 * What became of a commit: `behind`: the shard was not at the version before (also: missing). `unfiltered`: done, but the
 * shard's filter lacks other commits or is being filled.
 */
export type Advanced = "ok" | "unfiltered" | "behind";

/** `none`: the shard has no copy here. `foreign`: the copy is of another run of the store, which may have lost data: renew. */
export type Missing = "none" | "foreign";

/** What a shard's overlay holds. */
export interface ShardOverlay {
  head: ShardHead;
  registers: RegisterName[];
  keys: string[];
  sources: string[];
}

/** What a shard shows stays the same while its token does. */
export interface ShardToken {
  head: ShardHead;
  token: string;
  /** Whether any register is on its way. */
  hasRegisters: boolean;
}

export interface ShardRead {
  head: ShardHead;
  token: string;
  /** How many moves by acts of another time there were (PastPlace). */
  pasts: number;
  /** In the order asked: base and what is on its way, null where the base is not loaded. */
  counts: (number | null)[];
  /**
   * In the order asked: the newest stamp on its way, 0 where the ledger has no such register (`isNever`), null where only the
   * ledger can tell.
   */
  registers: (Stamp | null)[];
}

/** A relation event on its way, and what the ledger has of its register, from one snapshot. */
export interface RelationPut extends RegisterName {
  stamp: Stamp;
  source: string;
  n: number;
  /** The register in the ledger and the shard's version it was read at; null: send it only if the overlay has the register or it never was. */
  hint: { stamp: Stamp; version: number } | null;
  /** Of another time: nobody is told that it moves the count. */
  past?: boolean;
}

/**
 * `miss`: not in the overlay, come again with a hint; `behind`: the hint is of another version than the shard.
 * `ok`: it is there. `seen`: the register's newest stamp before this put, `stamp` after it. `count` as it shows now, null
 * where the base is not loaded. `decided`: the ledger has decided it already; what it changed cannot be said any more.
 */
export type RelationAnswer =
  | { status: "ok"; seen: Stamp; stamp: Stamp; count: number | null }
  | { status: "decided"; count: number | null }
  | { status: "miss" }
  | { status: "behind" };

/**
 * Amounts of one source that enter the log together, as one message: numbers `n - amounts.length + 1` … `n`. They are
 * decided together, too, since the projector applies whole messages.
 */
export interface TallyGroup {
  source: string;
  n: number;
  amounts: [metric: number, subject: Subject, amount: number][];
  /** Of another time, all of them. */
  past?: boolean;
}

/** A keyed increment on its way: the key stands for it, so that two nodes with the same key count once. */
export interface KeyedPut extends CountName {
  key: string;
  body: string;
  atMs: number;
  source: string;
  n: number;
  amount: number;
  /** The shard's version at which the ledger had no such key; like a relation's hint. */
  version: number;
  /** Of another time. */
  past?: boolean;
}

/** `ok`: this put is the key's (a repeat of it too), or (`isNew` false) another one with that body came first. */
export type KeyedAnswer =
  | { status: "ok"; isNew: boolean; body: string; count: number | null }
  | { status: "decided" }
  | { status: "behind" };

/**
 * Redis, as arithmetic/shard.ts has it: for each of the 256 shards the ledger's counts at one version (bases, a cache) and,
 * apart from them, what is on its way to the ledger (overlay). Each call is one atomic step for each shard it touches;
 * each may be repeated, and a repeat changes nothing. Everything rejects with HotStoreAway where the store cannot be asked.
 */
export interface HotStore {
  /** Several shards in one round trip; each answered on its own. */
  read(
    asked: { shard: number; counts: readonly CountName[]; registers: readonly RegisterName[] }[],
  ): Promise<(ShardRead | Missing)[]>;
  /** Whether what was read of the shards before still holds. */
  tokens(shards: readonly number[]): Promise<(ShardToken | Missing)[]>;
  /** Moves by acts of another time, of several shards in one round trip; null: of such a copy nothing is known. */
  pastSince(asked: readonly PastSpan[]): Promise<(PastMoves | null)[]>;
  /** `install` of arithmetic/shard.ts: takes effect only at that version; how many were taken, or why not. */
  install(
    shard: number,
    at: { incarnation: string; version: number },
    counts: readonly [metric: number, subject: Subject, count: number][],
  ): Promise<"ok" | "behind" | Missing>;
  /** `putRelation`, for events of several shards in one round trip; one answer for each event, in order. */
  putRelations(puts: { shard: number; events: readonly RelationPut[] }[]): Promise<(RelationAnswer[] | Missing)[]>;
  /** `putTally`; the counts as they show afterwards (null: base not loaded), in the order of the amounts. */
  putTallies(puts: { shard: number; group: TallyGroup }[]): Promise<((number | null)[] | Missing)[]>;
  /** Counts a keyed increment unless its key is on its way already; the caller has looked for it in the ledger. */
  putKeyed(shard: number, put: KeyedPut): Promise<KeyedAnswer | Missing>;
  /** The key on its way, or null. */
  findKey(shard: number, key: string): Promise<{ body: string; atMs: number } | null | Missing>;
  /** `advance`, of several shards in one round trip. */
  advance(commits: readonly ShardCommit[]): Promise<Advanced[]>;
  /** `coverFilter`: of commits that copies cannot be advanced by. Nothing where the filter lacks a commit before. */
  cover(commits: readonly ShardCommit[]): Promise<void>;
  /** `beginFilling`: `whole`: it needs none; `busy`: somebody else does it, who was heard of within a minute. */
  beginFilling(shards: readonly number[], token: string): Promise<("ok" | "whole" | "busy" | Missing)[]>;
  /** `fillFilter`: false where it is not this one's any more. */
  fill(parts: { shard: number; registers: readonly RegisterName[] }[], token: string): Promise<boolean[]>;
  /** `endFilling`; whether the filter is of use now. */
  endFilling(shards: readonly number[], token: string): Promise<boolean[]>;
  /** What a shard's overlay holds, and of which sources: what `catchUp` needs from the ledger. `many`: more than `most`. */
  overlayOf(shard: number, most: number): Promise<ShardOverlay | "many" | Missing>;
  /**
   * `catchUp`: `registers` and `keys` are those of the overlay, as one ledger snapshot has them together with the version
   * (`keys`: whether the ledger has them). `version.last` names the overlay's sources, also those that have retired. False
   * where the overlay has others by now, or the shard is not behind any more.
   * At an equal version only the position is taken, where it is higher: several shards share a partition, and a quiet one
   * would never settle otherwise.
   */
  catchUp(
    version: ShardVersion,
    registers: readonly [metric: number, subject: Subject, actor: Actor, stamp: Stamp][],
    keys: readonly [key: string, isStored: boolean][],
  ): Promise<boolean>;
  /**
   * For a shard that is `none` or `foreign`: begins a new epoch whose end is not known yet (never settled); its name. `none`:
   * an empty copy at the ledger's version. `foreign`: keeps what is there. Of several nodes that do this at once one wins,
   * and the others get the winner's epoch.
   */
  renew(version: ShardVersion): Promise<string>;
  /** As if the store had lost it, if it is still that epoch's: all who hold what the ledger lacks put it again into the next. */
  dropCopy(shard: number, epoch: string): Promise<void>;
  /**
   * Tells the end of the shard's partition, read after `renew` had begun that epoch; the lowest one told stays. Nothing where
   * it is another epoch by now, or another end than `seen`, where the end told was read after that had been seen.
   */
  setEnd(shard: number, epoch: string, end: number, seen?: number): Promise<void>;
  /**
   * The log has acts that these shards' copies do not show: their ends are not known any more, so that nobody takes what he
   * sees for all there is until the ledger has passed an end that is read from now on. Copies that are missing or foreign
   * stay as they are: they get such an end anyway.
   */
  unsettle(shards: readonly number[]): Promise<void>;
  /** The last numbers that the copies have, of each shard; none where a copy is missing. */
  sources(shards: readonly number[]): Promise<SourceState[][]>;
  /** The last number of each group of tallies (`TallyGroup`) on its way; none where a copy is missing. */
  notesOnTheWay(shards: readonly number[]): Promise<SourceState[]>;
  /** Numbers of sources that the ledger does not keep for a copy any more go from there, except where they are higher by now. */
  forget(numbers: readonly SourceState[]): Promise<void>;
  /** Whoever is on its way in one subject's list: actor and newest stamp, inactive ones too. `many`: more than `most`. */
  actorsOnTheWay(
    shard: number,
    count: CountName,
    most: number,
  ): Promise<[actor: Actor, stamp: Stamp][] | "many" | Missing>;
  /**
   * The counts of each shard that what is on its way may change: a like and its unlike too, which come to nothing together and
   * need not come into the ledger together. `many`: more than `most` in this shard, some of them perhaps taken twice.
   */
  countsOnTheWay(shards: readonly number[], most: number): Promise<(CountName[] | "many" | Missing)[]>;
  /**
   * Hints where an actor's own acts on their way may be found (written before the shard's own entry and removed after it):
   * subjects of one relation, each with its newest stamp. They may name what never happened; look each up in its shard.
   */
  hintActors(hints: readonly (RegisterName & { stamp: Stamp })[]): Promise<void>;
  /** Removes the hints whose stamp is not above the one given (the ledger's): a newer act's hint stays. */
  unhintActors(hints: readonly (RegisterName & { stamp: Stamp })[]): Promise<void>;
  hintsOf(actor: Actor, metric: number): Promise<Subject[]>;
  /** The heads of shards, null where there is none or it is foreign. */
  heads(shards: readonly number[]): Promise<(ShardHead | null)[]>;
  close(): Promise<void>;
}
