import { murmur3 } from "../lib/hash.ts";
import { countDelta } from "./register.ts";
import { decide } from "./source.ts";
import type { Stamp } from "./stamp.ts";

/**
 * The hot store's copy of one shard: what the ledger said (bases, at one version) and what is on its way to it (overlay),
 * apart. Shown = base + the overlay's sum. The Lua scripts of the cluster mirror these functions one by one; each is one
 * atomic step there.
 *
 * What every function keeps true (test/model/ checks it at every step of random schedules):
 * - a base is the ledger's count at the shard's version: it comes in with that version or is replaced with it;
 * - an overlay entry rests on the bit the ledger has at that version, so its contribution is exactly what it will change;
 * - no record is in a base and in the overlay: what the version has decided (n ≤ last of its source) is not there.
 * No number is ever added to a number of unknown age.
 */
export interface Shard {
  /** The ledger's version of this shard that the bases are from. */
  version: number;
  /** The ledger's position in the log at that version. */
  position: number;
  /** The log's end when this copy came into being: before the ledger has passed it, the overlay may lack records. */
  end: number;
  /** New whenever the hot store lost data; who sees a new one sends again what the ledger does not have. */
  epoch: number;
  /** The ledger's version when this epoch began: what is older is not shown. */
  since: number;
  /** The last n decided of each source that has not retired, at that version. */
  last: Map<string, number>;
  /** The ledger's counts that were asked for. */
  bases: Map<string, number>;
  /** Registers with a newer stamp on its way. */
  relations: Map<string, RelationEntry>;
  /** Amounts on their way, by source and n. */
  tallies: Map<string, TallyEntry>;
  /** Sum of the overlay for each count it touches. */
  sums: Map<string, number>;
  filter: Filter | null;
}

/**
 * Registers that the ledger has, so that a look can say of others that they never were, and the ledger need not be asked. In
 * the hot store a Bloom filter, which takes some strangers for its own. It never forgets: what it has too much costs a
 * question, what it lacks would be counted twice.
 */
export interface Filter {
  /** Whatever commits from the filter's beginning up to this version brought is in it. */
  version: number;
  /** Who fills it from the ledger, null when it is done. */
  filling: string | null;
  registers: Set<string>;
}

export interface RelationEntry {
  count: string;
  stamp: Stamp;
  /** The register's stamp in the ledger at the shard's version. */
  under: Stamp;
  source: string;
  n: number;
}

export interface TallyEntry {
  count: string;
  source: string;
  n: number;
  amount: number;
}

/** What one ledger snapshot says of a shard. */
export interface LedgerVersion {
  version: number;
  position: number;
  /** Of the sources that have not retired, and of others that were asked for. */
  last: ReadonlyMap<string, number>;
}

/** After a commit: the version and the touched counts as absolute numbers. */
export interface LedgerCommit extends LedgerVersion {
  counts: ReadonlyMap<string, number>;
}

/** A register in the ledger and the version it was read at, in one snapshot. */
export interface Hint {
  stamp: Stamp;
  version: number;
}

/** Fixed for ever: it stands in stored keys and numbers. */
export const SHARDS = 256;

/** The low byte of the subject's hash: any 32-bit number, signed or not. */
export function shardOf(subjectHash: number): number {
  return subjectHash & (SHARDS - 1);
}

/** The shard of a subject, given as the first `length` bytes. The seed is fixed: numbers in the log stand for it for ever. */
export function shardOfSubject(subject: Uint8Array, length: number): number {
  return shardOf(murmur3(subject, 0, length, 0));
}

/** An empty shard at the ledger's version. `end`: what the log holds now. */
export function fresh(ledger: LedgerVersion, end: number, epoch: number): Shard {
  return {
    version: ledger.version,
    position: ledger.position,
    end,
    epoch,
    since: ledger.version,
    last: new Map(ledger.last),
    bases: new Map(),
    relations: new Map(),
    tallies: new Map(),
    sums: new Map(),
    // Before the first commit there is nothing to be read.
    filter: ledger.version === 0 ? { version: 0, filling: null, registers: new Set() } : null,
  };
}

/** Whether a look at the overlay and the ledger sees everything that was acknowledged. */
export function settled(shard: Shard): boolean {
  return shard.position >= shard.end;
}

/** Drops from the overlay what the shard's new version has decided and rests the others on the ledger's registers. */
function cover(shard: Shard, registers: ReadonlyMap<string, Stamp>): void {
  for (const [name, entry] of shard.tallies) {
    if (!isDecided(shard, entry)) continue;
    shard.tallies.delete(name);
    shift(shard, entry.count, -entry.amount);
  }
  for (const [register, entry] of shard.relations) {
    const stored = registers.get(register) ?? entry.under;
    shift(shard, entry.count, -contribution(entry));
    // Decided with the register unchanged: refused, or beaten by a stamp that came before it into the log.
    if (stored >= entry.stamp || isDecided(shard, entry)) {
      shard.relations.delete(register);
      continue;
    }
    entry.under = stored;
    shift(shard, entry.count, contribution(entry));
  }
}

/**
 * By the projector, after its commit: the touched counts and registers and the last n of each source. False where the
 * shard is not at the version before: a commit between is missing here, and its counts would stay old.
 */
export function advance(shard: Shard, commit: LedgerCommit, registers: ReadonlyMap<string, Stamp>): boolean {
  if (shard.version !== commit.version - 1) return false;
  if (shard.filter) coverFilter(shard.filter, commit.version, registers);
  take(shard, commit);
  for (const [count, value] of commit.counts) if (shard.bases.has(count)) shard.bases.set(count, value);
  cover(shard, registers);
  return true;
}

/**
 * By anyone who finds the shard behind the ledger. `registers` holds those of the overlay's entries, and the version the last
 * number of each of their sources, retired or not, from one snapshot; false where the overlay has others by now or the shard
 * has moved on: read again. The bases are dropped: which counts the commits between have touched is not known.
 */
export function catchUp(shard: Shard, ledger: LedgerVersion, registers: ReadonlyMap<string, Stamp>): boolean {
  if (shard.version >= ledger.version) return false;
  for (const register of shard.relations.keys()) if (!registers.has(register)) return false;
  for (const { source } of shard.relations.values()) if (!ledger.last.has(source)) return false;
  for (const { source } of shard.tallies.values()) if (!ledger.last.has(source)) return false;
  take(shard, ledger);
  shard.bases.clear();
  cover(shard, registers);
  return true;
}

/**
 * The filter takes in a commit's registers, if it has those of all commits before. After a gap (a commit that nobody told it
 * of) it stays behind the shard's version, and is no use until it is filled again.
 */
export function coverFilter(filter: Filter, version: number, registers: ReadonlyMap<string, Stamp>): boolean {
  if (filter.version < version - 1) return false;
  // A refused one has no stamp.
  for (const [register, stamp] of registers) if (stamp > 0) filter.registers.add(register);
  filter.version = Math.max(filter.version, version);
  return true;
}

/**
 * Fills the filter of a shard whose ledger has registers already: begin, then read what the ledger has, in as many parts as
 * it takes, and end. A commit up to the version at the beginning is read, one after it is covered as it comes.
 */
export function beginFilling(shard: Shard, token: string): void {
  shard.filter = { version: shard.version, filling: token, registers: new Set(shard.filter?.registers) };
}

/** False: somebody else fills it by now, or it was lost. */
export function fillFilter(shard: Shard, token: string, registers: Iterable<string>): boolean {
  if (shard.filter?.filling !== token) return false;
  for (const register of registers) shard.filter.registers.add(register);
  return true;
}

export function endFilling(shard: Shard, token: string): void {
  if (shard.filter?.filling === token) shard.filter.filling = null;
}

/**
 * The hot store came back with what it had at some time. What the ledger has changed since would be shown as it was: no base is
 * kept or installed that is older than `version`, which was read after that. And who fills the filter cannot know what of it
 * is gone.
 */
export function renew(shard: Shard, version: number, epoch: number): void {
  shard.epoch = epoch;
  shard.since = version;
  shard.end = Number.POSITIVE_INFINITY;
  if (shard.version < version) shard.bases.clear();
  if (shard.filter?.filling) shard.filter = null;
}

/** Whether the ledger has no such register at the shard's version. */
export function isNever(shard: Shard, register: string): boolean {
  const { filter, version } = shard;
  return filter !== null && filter.filling === null && filter.version >= version && !filter.registers.has(register);
}

/** Puts a count in that was read with its version. False: the shard is at another version, read again. */
export function install(shard: Shard, count: string, value: number, version: number): boolean {
  if (shard.version !== version || version < shard.since) return false;
  if (!shard.bases.has(count)) shard.bases.set(count, value);
  return true;
}

/**
 * A relation event on its way. `miss`: the register is not in the overlay and may be in the ledger, come again with a hint of
 * what that has; `behind`: the hint is from another version.
 */
export function putRelation(
  shard: Shard,
  register: string,
  event: { count: string; stamp: Stamp; source: string; n: number },
  hint: Hint | null,
): "ok" | "miss" | "behind" {
  if (isDecided(shard, event)) return "ok";
  const entry = shard.relations.get(register);
  if (entry === undefined) {
    const known = hint ?? (isNever(shard, register) ? { stamp: 0, version: shard.version } : null);
    if (known === null) return "miss";
    if (known.version !== shard.version) return "behind";
    if (event.stamp <= known.stamp) return "ok";
    const added = { ...event, under: known.stamp };
    shard.relations.set(register, added);
    shift(shard, event.count, contribution(added));
    return "ok";
  }
  if (event.stamp > entry.stamp) {
    shift(shard, entry.count, -contribution(entry));
    entry.stamp = event.stamp;
    entry.source = event.source;
    entry.n = event.n;
    shift(shard, entry.count, contribution(entry));
  }
  return "ok";
}

/** A batch of tallies on its way. Repeats change nothing. */
export function putTally(shard: Shard, batch: TallyEntry): void {
  const name = `${batch.source}:${batch.n}`;
  if (isDecided(shard, batch) || shard.tallies.has(name)) return;
  shard.tallies.set(name, { ...batch });
  shift(shard, batch.count, batch.amount);
}

/** What a count shows, null where its base has not been loaded. */
export function shown(shard: Shard, count: string): number | null {
  const base = shard.bases.get(count);
  return base === undefined ? null : base + (shard.sums.get(count) ?? 0);
}

/** What an entry adds to its count: the change it will make to what the ledger has. */
export function contribution(entry: RelationEntry): number {
  return countDelta(entry.under, entry.stamp);
}

function isDecided(shard: Shard, record: { source: string; n: number }): boolean {
  return decide(shard.last.get(record.source) ?? 0, record.n) === "skip";
}

function take(shard: Shard, ledger: LedgerVersion): void {
  shard.version = ledger.version;
  shard.position = ledger.position;
  shard.last = new Map(ledger.last);
}

function shift(shard: Shard, count: string, by: number): void {
  const sum = (shard.sums.get(count) ?? 0) + by;
  if (sum === 0) shard.sums.delete(count);
  else shard.sums.set(count, sum);
}
