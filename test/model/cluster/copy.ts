import {
  advance,
  catchUp,
  fresh,
  type Hint,
  type LedgerCommit,
  type LedgerVersion,
  putRelation,
  renew,
  type Shard,
} from "../../../src/arithmetic/shard.ts";
import { decide } from "../../../src/arithmetic/source.ts";
import type { Stamp } from "../../../src/arithmetic/stamp.ts";
import type { Rules } from "./rules.ts";

/*
 * What Redis has of a shard in a cluster: the Shard of src/arithmetic, and beside it the groups, the keyed increments and
 * the run of Redis it belongs to. Each function is one atomic script.
 */

/** Amounts of one source that stand in one message: numbers from … n. */
export interface Group {
  source: string;
  from: number;
  n: number;
  amounts: ReadonlyMap<string, number>;
}

export interface Keyed {
  key: string;
  count: string;
  source: string;
  n: number;
  amount: number;
}

export interface Copy {
  shard: Shard;
  /** The run of Redis that this copy was made or renewed in. */
  run: number;
  /** The ledger's version when it was found that Redis had lost data: nobody is to see less. */
  renewedAt: number;
  groups: Map<string, Group>;
  keyed: Map<string, Keyed>;
}

export interface RelationAnswer {
  status: "ok" | "miss" | "behind";
  /** The register before this put; null: the record was decided already. */
  seen: Stamp | null;
  stamp: Stamp;
}

export function freshCopy(ledger: LedgerVersion, end: number, epoch: number, run: number): Copy {
  return { shard: fresh(ledger, end, epoch), run, renewedAt: ledger.version, groups: new Map(), keyed: new Map() };
}

/** A copy of another run that Redis came back with. `version`: the ledger's. */
export function renewCopy(
  copy: Copy,
  version: number,
  { run, epoch, end }: { run: number; epoch: number; end: number },
  rules: Rules,
): void {
  const { shard } = copy;
  const { filter, bases } = { ...shard, bases: new Map(shard.bases) };
  renew(shard, version, epoch);
  shard.end = end;
  if (!rules.lossBreaksFilling) shard.filter = filter;
  if (!rules.renewDropsBases) Object.assign(shard, { bases, since: 0 });
  copy.run = run;
  copy.renewedAt = version;
}

export function cloneCopy(copy: Copy): Copy {
  const { shard } = copy;
  return {
    run: copy.run,
    renewedAt: copy.renewedAt,
    groups: new Map(copy.groups),
    keyed: new Map(copy.keyed),
    shard: {
      ...shard,
      last: new Map(shard.last),
      bases: new Map(shard.bases),
      relations: new Map([...shard.relations].map(([name, entry]) => [name, { ...entry }])),
      tallies: new Map(),
      sums: new Map(shard.sums),
      filter: shard.filter && { ...shard.filter, registers: new Set(shard.filter.registers) },
    },
  };
}

export function isDecided(shard: Shard, record: { source: string; n: number }): boolean {
  return decide(shard.last.get(record.source) ?? 0, record.n) === "skip";
}

export function putRegister(
  copy: Copy,
  register: string,
  event: { count: string; stamp: Stamp; source: string; n: number },
  hint: Hint | null,
): RelationAnswer {
  const { shard } = copy;
  if (isDecided(shard, event)) return { status: "ok", seen: null, stamp: event.stamp };
  const seen = shard.relations.get(register)?.stamp ?? hint?.stamp ?? 0;
  const status = putRelation(shard, register, event, hint);
  return { status, seen, stamp: Math.max(seen, event.stamp) };
}

export function putGroup(copy: Copy, group: Group): void {
  const name = `${group.source}:${group.n}`;
  if (isDecided(copy.shard, group) || copy.groups.has(name)) return;
  copy.groups.set(name, group);
  for (const [count, amount] of group.amounts) shift(copy.shard, count, amount);
}

/** `version`: at which the ledger was seen not to have the key. */
export function putKeyed(copy: Copy, keyed: Keyed, version: number | null, rules: Rules): "ok" | "miss" | "behind" {
  if (isDecided(copy.shard, keyed)) return "ok";
  const name = nameOf(keyed, rules);
  if (copy.keyed.has(name)) return "ok";
  if (rules.keyHint) {
    if (version === null) return "miss";
    if (version !== copy.shard.version) return "behind";
  }
  copy.keyed.set(name, keyed);
  shift(copy.shard, keyed.count, keyed.amount);
  return "ok";
}

export function nameOf(keyed: Keyed, rules: Rules): string {
  return rules.keyNames ? keyed.key : `${keyed.source}:${keyed.n}`;
}

export function advanceCopy(
  copy: Copy,
  commit: LedgerCommit,
  registers: ReadonlyMap<string, Stamp>,
  keys: ReadonlySet<string>,
  rules: Rules,
): boolean {
  const { filter } = copy.shard;
  if (filter && !rules.filterGap) filter.version = Math.max(filter.version, commit.version - 1);
  if (filter && !rules.filterCovers) filter.version = Math.max(filter.version, commit.version);
  if (filter && !rules.filterCovers) copy.shard.filter = null;
  const isDone = advance(copy.shard, commit, registers);
  if (filter && !rules.filterCovers) copy.shard.filter = filter;
  if (!isDone) return false;
  coverMore(copy, keys, rules);
  return true;
}

/** `keysAsked`: the overlay's keys that were looked up; `keys`: those of them that the ledger has. */
export function catchUpCopy(
  copy: Copy,
  ledger: LedgerVersion,
  registers: ReadonlyMap<string, Stamp>,
  keysAsked: ReadonlySet<string>,
  keys: ReadonlySet<string>,
  rules: Rules,
): boolean {
  for (const { source } of [...copy.groups.values(), ...copy.keyed.values()])
    if (rules.catchUpKnowsAll && !ledger.last.has(source)) return false;
  if (rules.keysDrop) for (const { key } of copy.keyed.values()) if (!keysAsked.has(key)) return false;
  if (!catchUp(copy.shard, ledger, registers)) return false;
  coverMore(copy, keys, rules);
  return true;
}

/** The partition has moved on and this shard has not: same version, so only its position changes. */
export function settleQuiet(copy: Copy, ledger: LedgerVersion): boolean {
  if (copy.shard.version !== ledger.version || copy.shard.position >= ledger.position) return false;
  copy.shard.position = ledger.position;
  return true;
}

/** The log's end, read after this epoch was seen. */
export function setEnd(copy: Copy, epoch: number, end: number): boolean {
  if (copy.shard.epoch !== epoch || copy.shard.end <= end) return false;
  copy.shard.end = end;
  return true;
}

function coverMore(copy: Copy, keys: ReadonlySet<string>, rules: Rules): void {
  for (const [name, group] of copy.groups) {
    if (!isDecided(copy.shard, group)) continue;
    copy.groups.delete(name);
    for (const [count, amount] of group.amounts) shift(copy.shard, count, -amount);
  }
  for (const [name, entry] of copy.keyed) {
    if (!isDecided(copy.shard, entry) && !(rules.keysDrop && keys.has(entry.key))) continue;
    copy.keyed.delete(name);
    shift(copy.shard, entry.count, -entry.amount);
  }
}

function shift(shard: Shard, count: string, by: number): void {
  const sum = (shard.sums.get(count) ?? 0) + by;
  if (sum === 0) shard.sums.delete(count);
  else shard.sums.set(count, sum);
}
