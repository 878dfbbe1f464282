import {
  advance,
  beginFilling,
  catchUp,
  contribution,
  coverFilter,
  endFilling,
  fillFilter,
  fresh,
  install,
  isNever,
  putRelation,
  type Shard,
  shown,
} from "../../src/arithmetic/shard.ts";
import type {
  Advanced,
  KeyedAnswer,
  KeyedPut,
  Missing,
  PastMoves,
  RegisterName,
  RelationAnswer,
  RelationPut,
  ShardCommit,
  ShardVersion,
  TallyGroup,
} from "../../src/ports/hot-store.ts";

/** arithmetic/shard.ts under the names of the port, with keyed increments: what any hot store has to do. */
export class ShardModel {
  readonly shard: Shard;
  readonly keyed = new Map<string, KeyedPut>();
  incarnation: string;
  epoch = "";
  /** Who was last heard of filling the filter. */
  filling: string | null = null;
  foreign = false;
  /** Every move by an act of another time, as it was told; those of one step in any order. */
  readonly past: [count: string, by: number][] = [];
  /** How many there were behind each step: the places that reads can have. */
  readonly places = [0];
  /** Those of the call under way. */
  private readonly telling = new Map<string, number>();

  constructor(version: ShardVersion) {
    this.incarnation = version.incarnation;
    this.shard = fresh({ ...version, last: new Map(version.last) }, Number.POSITIVE_INFINITY, 0);
  }

  shown(metric: number, subject: string): number | null {
    return shown(this.shard, nameOf(metric, subject));
  }

  stamp(metric: number, subject: string, actor: string): number | null {
    const register = registerOf(metric, subject, actor);
    return this.shard.relations.get(register)?.stamp ?? (isNever(this.shard, register) ? 0 : null);
  }

  install(
    at: { incarnation: string; version: number },
    counts: readonly [number, string, number][],
  ): "ok" | "behind" | Missing {
    if (this.foreign) return "foreign";
    if (at.incarnation !== this.incarnation) return "behind";
    for (const [metric, subject, value] of counts)
      if (!install(this.shard, nameOf(metric, subject), value, at.version)) return "behind";
    return "ok";
  }

  putRelations(events: readonly RelationPut[]): RelationAnswer[] {
    const answers = events.map((event) => this.putRelation(event));
    this.saveTold();
    return answers;
  }

  private putRelation(event: RelationPut): RelationAnswer {
    const { metric, subject, actor, stamp, source, n, hint } = event;
    const register = registerOf(metric, subject, actor);
    const count = nameOf(metric, subject);
    const before = this.shard.relations.get(register)?.stamp ?? hint?.stamp ?? 0;
    if (this.isDecided(source, n)) return { status: "decided", count: this.shown(metric, subject) };
    const sum = this.shard.sums.get(count) ?? 0;
    const status = putRelation(this.shard, register, { count, stamp, source, n }, hint);
    if (status !== "ok") return { status };
    if (event.past) this.tell(count, (this.shard.sums.get(count) ?? 0) - sum);
    const after = this.shard.relations.get(register)?.stamp ?? before;
    return { status, seen: before, stamp: after, count: this.shown(metric, subject) };
  }

  putTallies(group: TallyGroup): (number | null)[] {
    const { source, n, amounts } = group;
    if (!this.isDecided(source, n) && !this.shard.tallies.has(`${source}:${n}:0`)) {
      for (const [i, [metric, subject, amount]] of amounts.entries()) {
        const count = nameOf(metric, subject);
        this.shard.tallies.set(`${source}:${n}:${i}`, { count, source, n, amount });
        this.shift(count, amount);
        if (group.past) this.tell(count, amount);
      }
      this.saveTold();
    }
    return amounts.map(([metric, subject]) => this.shown(metric, subject));
  }

  putKeyed(put: KeyedPut): KeyedAnswer {
    if (this.isDecided(put.source, put.n)) return { status: "decided" };
    let known = this.keyed.get(put.key);
    if (!known) {
      if (put.version !== this.shard.version) return { status: "behind" };
      known = put;
      this.keyed.set(put.key, put);
      this.shift(nameOf(put.metric, put.subject), put.amount);
      if (put.past) this.tell(nameOf(put.metric, put.subject), put.amount);
      this.saveTold();
    }
    const isNew = known.source === put.source && known.n === put.n;
    return { status: "ok", isNew, body: known.body, count: this.shown(put.metric, put.subject) };
  }

  advance(commit: ShardCommit): Advanced {
    if (this.foreign || commit.incarnation !== this.incarnation) return "behind";
    const last = new Map([...this.shard.last, ...commit.last]);
    const counts = new Map(commit.counts.map(([metric, subject, count]) => [nameOf(metric, subject), count] as const));
    const shown = structuredClone(this.shard.tallies);
    const rested = commit.registers.map(([metric, subject, actor]) => this.contributionOf(metric, subject, actor));
    if (!advance(this.shard, { ...commit, last, counts }, registerStamps(commit.registers))) return "behind";
    this.tellShown(commit, shown);
    for (const [i, [metric, subject, actor, , by]] of commit.registers.entries()) {
      const rests = this.contributionOf(metric, subject, actor) - (rested[i] as number);
      if (by !== undefined) this.tell(nameOf(metric, subject), by + rests);
    }
    for (const [metric, subject, amount] of commit.past?.tallies ?? []) this.tell(nameOf(metric, subject), amount);
    this.saveTold((count) => this.shard.bases.has(count));
    this.dropKeyed((put) => commit.keys.includes(put.key));
    return this.isWhole ? "ok" : "unfiltered";
  }

  /** What the last 1,000 moves are, behind `from` up to `to`. */
  pastSince(from: number, to: number): PastMoves {
    const first = Math.max(from, this.past.length - 1_000);
    return { first: first + 1, moves: this.past.slice(first, Math.max(first, to)) };
  }

  /** Whose entries the overlay has. */
  sources(): string[] {
    const { relations, tallies } = this.shard;
    const entries = [...relations.values(), ...tallies.values(), ...this.keyed.values()];
    return [...new Set(entries.map(({ source }) => source))].sort();
  }

  forget(source: string, upTo: number): void {
    if (!this.foreign && (this.shard.last.get(source) ?? 0) <= upTo) this.shard.last.delete(source);
  }

  get isWhole(): boolean {
    const { filter, version } = this.shard;
    return filter !== null && filter.filling === null && filter.version >= version;
  }

  cover({ incarnation, version, registers }: ShardCommit): void {
    const { filter } = this.shard;
    if (this.foreign || incarnation !== this.incarnation || !filter) return;
    coverFilter(filter, version, registerStamps(registers));
  }

  beginFilling(token: string): "ok" | "whole" | "busy" {
    if (this.isWhole) return "whole";
    if (this.filling !== null) return "busy";
    this.filling = token;
    beginFilling(this.shard, token);
    return "ok";
  }

  fill(registers: readonly RegisterName[], token: string): boolean {
    const names = registers.map(({ metric, subject, actor }) => registerOf(metric, subject, actor));
    const isDone = fillFilter(this.shard, token, names);
    if (isDone) this.filling = token;
    return isDone;
  }

  endFilling(token: string): boolean {
    if (this.shard.filter?.filling !== token) return false;
    endFilling(this.shard, token);
    this.filling = null;
    return this.isWhole;
  }

  catchUp(
    version: ShardVersion,
    registers: readonly [number, string, string, number][],
    keys: readonly [key: string, isStored: boolean][],
  ): boolean {
    if (this.foreign || version.incarnation !== this.incarnation) return false;
    const { shard } = this;
    if (version.version === shard.version) {
      if (version.position <= shard.position) return false;
      shard.position = version.position;
      return true;
    }
    const stored = new Map(keys);
    if ([...this.keyed.keys()].some((key) => !stored.has(key))) return false;
    const sources = new Set(version.last.map(([source]) => source));
    if ([...this.keyed.values()].some(({ source }) => !sources.has(source))) return false;
    if (!catchUp(shard, { ...version, last: new Map(version.last) }, registerStamps(registers))) return false;
    this.dropKeyed((put) => stored.get(put.key) === true || this.isDecided(put.source, put.n));
    return true;
  }

  setEnd(epoch: string, end: number): void {
    if (!this.foreign && epoch === this.epoch) this.shard.end = Math.min(this.shard.end, end);
  }

  isDecided(source: string, n: number): boolean {
    return n <= (this.shard.last.get(source) ?? 0);
  }

  private tell(count: string, by: number): void {
    this.telling.set(count, (this.telling.get(count) ?? 0) + by);
  }

  private saveTold(isTold = (_: string) => true): void {
    for (const [count, by] of this.telling) if (by !== 0 && isTold(count)) this.past.push([count, by]);
    this.places.push(this.past.length);
    this.telling.clear();
  }

  /** Tallies of another time that were shown before the commit has them. */
  private tellShown({ past, groups, keys }: ShardCommit, tallies: Shard["tallies"]): void {
    for (const [source, n] of groups) {
      if (!past?.names.includes(`${n} ${source}`)) continue;
      for (const entry of tallies.values())
        if (entry.source === source && entry.n === n) this.tell(entry.count, -entry.amount);
    }
    for (const key of keys) {
      const put = past?.names.includes(key) ? this.keyed.get(key) : undefined;
      if (put) this.tell(nameOf(put.metric, put.subject), -put.amount);
    }
  }

  private contributionOf(metric: number, subject: string, actor: string): number {
    const entry = this.shard.relations.get(registerOf(metric, subject, actor));
    return entry ? contribution(entry) : 0;
  }

  private dropKeyed(isGone: (put: KeyedPut) => boolean): void {
    for (const put of this.keyed.values()) {
      if (!isGone(put)) continue;
      this.keyed.delete(put.key);
      this.shift(nameOf(put.metric, put.subject), -put.amount);
    }
  }

  private shift(count: string, by: number): void {
    const sum = (this.shard.sums.get(count) ?? 0) + by;
    if (sum === 0) this.shard.sums.delete(count);
    else this.shard.sums.set(count, sum);
  }
}

export function nameOf(metric: number, subject: string): string {
  return `${metric}:${subject}`;
}

function registerOf(metric: number, subject: string, actor: string): string {
  return `${nameOf(metric, subject)}\n${actor}`;
}

function registerStamps(
  registers: readonly [metric: number, subject: string, actor: string, stamp: number, past?: number][],
): Map<string, number> {
  return new Map(registers.map(([metric, subject, actor, stamp]) => [registerOf(metric, subject, actor), stamp]));
}
