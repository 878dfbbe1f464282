import { msOf } from "../../src/arithmetic/stamp.ts";
import { COUNT_MAX, typeOf } from "../../src/model.ts";
import type { StoredKey } from "../../src/ports/ledger.ts";
import type { Frame, LogRecord } from "../../src/records.ts";
import { type Random, random } from "./random.ts";

/** What a ledger must say, worked out record by record with nothing folded, sorted or partitioned. */
export class LedgerModel {
  position = 0;
  readonly registers = new Map<string, { metric: number; subject: string; actor: string; stamp: number }>();
  readonly tallies = new Map<string, number>();
  readonly history = new Map<string, Map<number, number>>();
  readonly last = new Map<string, number>();
  readonly keys = new Map<string, StoredKey>();
  /** When each actor was erased. */
  readonly floors = new Map<string, number>();
  losses = 0;

  apply(frame: Frame, next: number): void {
    this.position = next;
    for (const record of frame.records) {
      const of = `${frame.source} ${record.shard}`;
      const last = this.last.get(of) ?? 0;
      if (record.n <= last) continue;
      if (record.n > last + 1) this.losses++;
      this.last.set(of, record.n);
      if (record.once) this.keys.set(record.once.key, record.once);
      this.#apply(record);
    }
  }

  count(metric: number, subject: string): number {
    const active = this.all().filter((it) => it.metric === metric && it.subject === subject && it.stamp % 2 === 1);
    return active.length + (this.tallies.get(`${metric} ${subject}`) ?? 0);
  }

  all() {
    return [...this.registers.values()];
  }

  register(metric: number, subject: string, actor: string): number {
    return this.registers.get(JSON.stringify([metric, subject, actor]))?.stamp ?? 0;
  }

  actors(metric: number, subject: string) {
    return newest(this.all().filter((it) => it.metric === metric && it.subject === subject)).map(
      ({ actor, stamp }) => ({
        id: actor,
        stamp,
      }),
    );
  }

  subjects(metric: number, actor: string, type?: string) {
    const all = this.all().filter((it) => it.metric === metric && it.actor === actor);
    const typed = type === undefined ? all : all.filter((it) => typeOf(it.subject) === type);
    return newest(typed).map(({ subject, stamp }) => ({ id: subject, stamp }));
  }

  #apply(record: LogRecord): void {
    const { metric, subject } = record;
    const name = `${metric} ${subject}`;
    if (record.kind === "relation") {
      const { actor, stamp } = record;
      const before = this.register(metric, subject, actor);
      if (stamp <= before || stamp <= (this.floors.get(actor) ?? 0)) return;
      if (before % 2 === 1) this.#change(name, stamp % 2 === 1 ? msOf(before) : msOf(stamp), -1);
      if (stamp % 2 === 1) this.#change(name, msOf(stamp), 1);
      this.registers.set(JSON.stringify([metric, subject, actor]), { metric, subject, actor, stamp });
    } else if (record.kind === "tally" || record.kind === "set") {
      const before = this.tallies.get(name) ?? 0;
      const after = record.kind === "set" ? record.count : Math.min(before + record.amount, COUNT_MAX);
      this.tallies.set(name, after);
      this.#change(name, record.atMs, after - before);
    } else if (record.kind === "merge") this.#merge(subject, record.to);
    else if (record.kind === "visitor" || record.kind === "void") return;
    else if (record.actor === "") this.#eraseSubject(subject);
    else this.#eraseActor(record.actor, record.stamp);
  }

  #eraseSubject(subject: string): void {
    for (const [key, it] of this.registers) if (it.subject === subject) this.registers.delete(key);
    for (const metric of METRICS) {
      this.tallies.delete(`${metric} ${subject}`);
      this.history.delete(`${metric} ${subject}`);
    }
  }

  #eraseActor(actor: string, stamp: number): void {
    this.floors.set(actor, Math.max(stamp, this.floors.get(actor) ?? 0));
    for (const [key, it] of this.registers) {
      if (it.actor !== actor) continue;
      this.registers.delete(key);
      if (it.stamp % 2 === 1) this.#change(`${it.metric} ${it.subject}`, msOf(it.stamp), -1);
    }
  }

  #merge(from: string, to: string): void {
    for (const { metric, subject, actor, stamp } of this.all()) {
      if (subject !== from || stamp % 2 === 0) continue;
      const there = this.register(metric, to, actor);
      const isOnBoth = there % 2 === 1;
      if (isOnBoth) this.#change(`${metric} ${to}`, msOf(Math.min(stamp, there)), -1);
      const both = { metric, subject: to, actor, stamp: isOnBoth ? Math.max(stamp, there) : stamp };
      this.registers.set(JSON.stringify([metric, to, actor]), both);
    }
    for (const metric of METRICS) {
      const given = this.tallies.get(`${metric} ${from}`);
      if (given !== undefined) this.tallies.set(`${metric} ${to}`, given + (this.tallies.get(`${metric} ${to}`) ?? 0));
      for (const [at, amount] of this.history.get(`${metric} ${from}`) ?? []) {
        this.#change(`${metric} ${to}`, at * 1000, amount);
      }
    }
    this.#eraseSubject(from);
  }

  /** By hour, those that changed. */
  steps(metric: number, subject: string): [at: number, amount: number][] {
    const of = this.history.get(`${metric} ${subject}`) ?? new Map<number, number>();
    return [...of].filter(([, amount]) => amount !== 0).sort((a, b) => a[0] - b[0]);
  }

  #change(name: string, atMs: number, amount: number): void {
    const of = this.history.get(name) ?? new Map<number, number>();
    const at = Math.floor(atMs / 3_600_000) * 3_600;
    this.history.set(name, of.set(at, (of.get(at) ?? 0) + amount));
  }
}

/** Of equal stamps the higher ids come first; those of one list differ in the actor or in the subject alone. */
function newest<T extends { stamp: number; actor: string; subject: string }>(registers: T[]): T[] {
  const bytes = ({ subject, actor }: T) => Buffer.from(`${subject}\0${actor}`);
  return registers
    .filter(({ stamp }) => stamp % 2 === 1)
    .sort((a, b) => b.stamp - a.stamp || Buffer.compare(bytes(b), bytes(a)));
}

export const VIEWS = 1;
export const SHARES = 2;
export const LIKES = 3;
export const FOLLOWS = 4;
export const RELATIONS = [LIKES, FOLLOWS];
const METRICS = [VIEWS, SHARES, LIKES, FOLLOWS];

/** Ids that a store might take for each other, or for something of its own. */
const ODD = [
  "7",
  "Bob",
  "bob",
  "bob ",
  " bob",
  "é",
  "e\u0301",
  "😀",
  "%2F",
  "a/b",
  "__proto__",
  "'; --",
  "\uffff",
  "ß",
  "ss",
  "0",
];

/** Random frames, the same for the same seed: duplicates, replays, gaps, toggles, sets, stamps out of order. */
export class FrameSource {
  readonly random: Random;
  readonly subjects: string[];
  readonly actors: string[];
  nowMs = Date.UTC(2026, 10, 20, 12);
  #n = new Map<string, number>();
  #sent: Frame[] = [];
  #stamp = 2 ** 51;
  #times = new Set<number>();
  #key = 0;

  /** Every so often an erasure or a merge, alone in its frame. */
  jobs = 0;

  constructor(seed: number, subjects = 12, actors = 30) {
    this.random = random(seed);
    const names = (count: number) => [...ODD, ...Array.from({ length: count }, (_, i) => `n${i}`)].slice(0, count);
    this.subjects = names(subjects).map((id, i) => `${i % 3 === 0 ? "user" : "article"}/${id}`);
    this.actors = names(actors);
  }

  next(): Frame {
    const { chance, pick, below } = this.random;
    if (this.#sent.length > 0 && chance(0.15)) return pick(this.#sent);
    if (chance(this.jobs)) return this.#job();
    const source = pick(["node-a", "node-b", "notes"]);
    const records = Array.from({ length: 1 + below(8) }, () => this.#record(source));
    return this.#send({ source, records });
  }

  #send(frame: Frame): Frame {
    if (this.#sent.length < 50) this.#sent.push(frame);
    else this.#sent[this.random.below(50)] = frame;
    return frame;
  }

  /** An erasure of an actor has a record for each shard, as in a cluster. */
  #job(): Frame {
    const { chance, pick } = this.random;
    const numbered = (shard: number) => {
      const n = (this.#n.get(`jobs ${shard}`) ?? 0) + 1;
      this.#n.set(`jobs ${shard}`, n);
      return { shard, n, metric: 0, once: undefined };
    };
    const subject = pick(this.subjects);
    const shard = this.subjects.indexOf(subject) % 256;
    const stamp = this.#stamp;
    const records: LogRecord[] = [];
    if (chance(0.4)) {
      const to = pick(this.subjects.filter((other) => other !== subject));
      records.push({ kind: "merge", ...numbered(shard), subject, to });
    } else if (chance(0.5)) {
      records.push({ kind: "erase", ...numbered(shard), subject, actor: "", stamp });
    } else {
      const actor = pick(this.actors);
      for (let each = 0; each < 256; each++) {
        records.push({ kind: "erase", ...numbered(each), subject: "", actor, stamp });
      }
    }
    return this.#send({ source: "jobs", records });
  }

  #record(source: string): LogRecord {
    const { chance, pick, below } = this.random;
    const subject = pick(this.subjects);
    const shard = this.subjects.indexOf(subject) % 256;
    const n = (this.#n.get(`${source} ${shard}`) ?? 0) + (chance(0.002) ? 2 : 1);
    this.#n.set(`${source} ${shard}`, n);
    const once = chance(0.05)
      ? { key: hex(++this.#key, 32), body: hex(this.#key * 7, 16), atMs: this.nowMs }
      : undefined;
    const numbered = { shard, n, subject, once };
    const atMs = Date.UTC(2026, 10, 20, 12) + below(5 * 3600_000);
    if (source === "notes" || chance(0.1)) {
      const metric = pick([VIEWS, SHARES]);
      if (chance(0.05)) return { kind: "set", ...numbered, metric, count: below(1000), atMs };
      return { kind: "tally", ...numbered, metric, amount: 1 + below(100), atMs, slot: 0, notedAfter: 0 };
    }
    this.#stamp += 2 * (1 + below(5));
    // Some hours of stamps: 2048 a millisecond.
    if (chance(0.05)) this.#stamp += 2 ** 33;
    // The clock gives no two acts the same time, but some come late; acts that bring their own time may share it.
    let time = this.#stamp - (chance(0.1) ? 2 * below(chance(0.5) ? 2000 : 2 ** 31) : 0);
    if (chance(0.2)) time -= time % 64;
    else while (this.#times.has(time)) time += 2;
    this.#times.add(time);
    const stamp = time + (chance(0.6) ? 1 : 0);
    return { kind: "relation", ...numbered, metric: pick(RELATIONS), actor: pick(this.actors), stamp };
  }
}

function hex(number: number, digits: number): string {
  return number.toString(16).padStart(digits, "0");
}
