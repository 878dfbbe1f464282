import { expect } from "bun:test";
import type { RedisClient } from "bun";
import { renew } from "../../src/arithmetic/shard.ts";
import { STAMP_MAX } from "../../src/arithmetic/stamp.ts";
import {
  type CountName,
  type HotStore,
  NO_END,
  type RelationPut,
  type ShardCommit,
  type ShardHead,
  type ShardRead,
  type ShardToken,
  type ShardVersion,
} from "../../src/ports/hot-store.ts";
import type { Random } from "../support/random.ts";
import { ShardModel } from "./hot-store.model.ts";

const SHARDS = [0, 15, 255];
const METRICS = [1, 12];
export const ODD_IDS = [
  "42",
  "007",
  "9223372036854775808",
  "😀".repeat(32),
  "\"quoted\" 'and' \\ back",
  "{braces}",
  "}{",
  "100%",
  "%d%s(.*)",
  "-5",
  "a b\u2028c",
  "x".repeat(128),
  "é/è/à:ü",
];
const SUBJECTS = ODD_IDS.map((id, i) => `${["article", "page", "a_b"][i % 3]}/${id}`);
const ACTORS = [...ODD_IDS.slice(3), "u1"];
const SOURCES = ["n1", "node two:r", "§{}%1"];
const KEYS = ["k", 'key "{1}"', "Schlüssel %s"];

/** A connection to whichever server has this shard. */
export type Raw = (shard: number) => Promise<RedisClient>;

/** Random calls, the same to a hot store and to the model; after each, everything that Redis holds is compared. */
export class World {
  readonly #store: HotStore;
  readonly #random: Random;
  readonly #prefix: string;
  readonly #raw: Raw;
  readonly #models = new Map<number, ShardModel>();
  /** By shard and token: counts as they were shown. */
  readonly #readAt = new Map<string, Map<string, number>>();
  /** Numbers given by source and shard. */
  readonly #given = new Map<string, number>();
  #puts: { shard: number; event: RelationPut }[] = [];

  constructor(store: HotStore, random: Random, prefix: string, raw: Raw) {
    this.#store = store;
    this.#random = random;
    this.#prefix = prefix;
    this.#raw = raw;
  }

  async step(): Promise<void> {
    const { chance, below, pick } = this.#random;
    const shard = pick(SHARDS);
    const model = this.#models.get(shard);
    if (!model || model.foreign) await this.#renew(shard);
    else {
      const step = below(100);
      if (chance(0.1)) await this.#fill(shard, model);
      if (chance(0.05)) await this.#forget();
      if (step < 35) await this.#putRelations();
      else if (step < 50) await this.#putTallies();
      else if (step < 58) await this.#putKeyed(shard, model);
      else if (step < 72) await this.#install(shard, model);
      else if (step < 90) await this.#advance();
      else if (step < 97) await this.#catchUp(shard, model);
      else if (step < 98) await this.#lose(shard, model);
      else if (step < 99) await this.#cover(shard, model);
      else await this.#repeatOld();
    }
    if (chance(0.1)) await this.#compareAnswers();
    for (const each of SHARDS) await this.#compare(each);
  }

  /** Sends what `call` sends once or twice: the answers to the first are compared, the second must change nothing. */
  async #maybeTwice<T>(call: () => Promise<T>): Promise<T> {
    const answer = await call();
    if (this.#random.chance(0.3)) await call();
    return answer;
  }

  async #renew(shard: number): Promise<void> {
    const { below, chance } = this.#random;
    const known = this.#models.get(shard);
    const counts = [{ metric: 1, subject: SUBJECTS[0] as string }];
    expect(await this.#store.read([{ shard, counts, registers: [] }])).toEqual([known ? "foreign" : "none"]);
    const incarnation = chance(0.1) ? "i0" : (known?.incarnation ?? "i1");
    const version = this.#version(shard, incarnation, Math.max(0, (known?.shard.version ?? 1) + below(4) - 1));
    const epoch = await this.#store.renew(version);
    expect(epoch).not.toBe(known?.epoch ?? "");
    expect(await this.#store.renew(version)).toBe(epoch);
    const model = known ?? new ShardModel(version);
    renew(model.shard, version.version, 0);
    if (incarnation !== model.incarnation) model.shard.bases.clear();
    model.foreign = false;
    model.epoch = epoch;
    this.#models.set(shard, model);
    if (chance(0.8)) {
      await this.#maybeTwice(() => this.#store.setEnd(shard, epoch, 7));
      model.setEnd(epoch, 7);
      await this.#store.setEnd(shard, epoch, 9);
      if (chance(0.5)) {
        await this.#store.setEnd(shard, epoch, 4);
        model.setEnd(epoch, 4);
      }
    }
    await this.#store.setEnd(shard, "another", 3);
    if (chance(0.3)) await this.#unsettle(shard, epoch, model);
  }

  async #unsettle(shard: number, epoch: string, model: ShardModel): Promise<void> {
    const [before] = await this.#store.heads([shard]);
    await this.#store.unsettle([shard]);
    const [head] = await this.#store.heads([shard]);
    expect(head?.end).toBeGreaterThanOrEqual(NO_END);
    // Read before: it may not cover what the shard was unsettled for.
    await this.#store.setEnd(shard, epoch, 5, before?.end);
    expect(await this.#store.heads([shard])).toEqual([head as ShardHead]);
    await this.#store.setEnd(shard, epoch, 5, head?.end);
    model.shard.end = 5;
  }

  async #putRelations(): Promise<void> {
    const { chance, below, pick } = this.#random;
    const puts = SHARDS.filter(() => chance(0.6)).map((shard) => ({
      shard,
      events: Array.from({ length: 1 + below(4) }, () => this.#event(shard)),
    }));
    for (const { shard, events } of puts) for (const event of events) this.#puts.push({ shard, event });
    if (this.#puts.length > 50) this.#puts = this.#puts.slice(-50);
    const answers = await this.#store.putRelations(puts);
    expect(answers).toEqual(
      puts.map(({ shard, events }) => {
        const model = this.#models.get(shard);
        if (!model) return "none";
        return model.foreign ? "foreign" : model.putRelations(events);
      }),
    );
    if (chance(0.3)) await this.#putAgain(pick(this.#puts.slice(-1)) ?? null);
  }

  /** The newest put once more: a repeat that reached the store late. */
  async #putAgain(put: { shard: number; event: RelationPut } | null): Promise<void> {
    if (!put) return;
    const model = this.#models.get(put.shard);
    const [answer] = await this.#store.putRelations([{ shard: put.shard, events: [put.event] }]);
    if (!model || model.foreign) expect(answer).toBe(model ? "foreign" : "none");
    else expect(answer).toEqual(model.putRelations([put.event]));
  }

  async #repeatOld(): Promise<void> {
    if (this.#puts.length > 0) await this.#putAgain(this.#random.pick(this.#puts));
  }

  async #putTallies(): Promise<void> {
    const { chance, below, pick } = this.#random;
    const puts = SHARDS.filter(() => chance(0.6)).map((shard) => {
      const amounts = Array.from({ length: 1 + below(3) }, (): [number, string, number] => [
        pick(METRICS),
        pick(SUBJECTS),
        chance(0.1) ? 2 ** 40 : below(5) - 1,
      ]);
      const source = pick(SOURCES);
      return { shard, group: { source, n: this.#next(shard, source, amounts.length), amounts, past: chance(0.3) } };
    });
    const answers = await this.#maybeTwice(() => this.#store.putTallies(puts));
    expect(answers).toEqual(
      puts.map(({ shard, group }) => {
        const model = this.#models.get(shard);
        if (!model) return "none";
        return model.foreign ? "foreign" : model.putTallies(group);
      }),
    );
  }

  async #putKeyed(shard: number, model: ShardModel): Promise<void> {
    const { chance, below, pick } = this.#random;
    const source = pick(SOURCES);
    const put = {
      metric: pick(METRICS),
      subject: pick(SUBJECTS),
      key: pick(KEYS),
      body: `{"by":${below(9)},"text":"line\n%s"}`,
      atMs: 1e12 + below(1e6),
      source,
      n: this.#next(shard, source, 1),
      amount: chance(0.1) ? 0 : 1 + below(1e6),
      past: chance(0.3),
      version: model.shard.version - (chance(0.2) ? 1 : 0),
    };
    const known = model.keyed.get(put.key);
    expect(await this.#store.findKey(shard, put.key)).toEqual(known ? { body: known.body, atMs: known.atMs } : null);
    const answer = await this.#maybeTwice(() => this.#store.putKeyed(shard, put));
    expect(answer).toEqual(model.putKeyed(put));
  }

  async #install(shard: number, model: ShardModel): Promise<void> {
    const { chance, below, pick } = this.#random;
    const counts = Array.from({ length: 1 + below(6) }, (): [number, string, number] => [
      pick(METRICS),
      pick(SUBJECTS),
      chance(0.2) ? 2 ** 52 + below(1000) : below(3) * below(100_000),
    ]);
    const at = {
      incarnation: chance(0.1) ? "i0" : model.incarnation,
      version: model.shard.version - (chance(0.2) ? 1 : 0),
    };
    const answer = await this.#maybeTwice(() => this.#store.install(shard, at, counts));
    expect(answer).toBe(model.install(at, counts));
  }

  async #advance(): Promise<void> {
    const { chance } = this.#random;
    const commits = SHARDS.filter((shard) => this.#models.has(shard) && chance(0.7)).map((shard) =>
      this.#commit(shard, this.#models.get(shard) as ShardModel),
    );
    const answers = await this.#maybeTwice(() => this.#store.advance(commits));
    expect(answers).toEqual(commits.map((commit) => (this.#models.get(commit.shard) as ShardModel).advance(commit)));
  }

  /** Decides some of what is on its way: applied, refused or beaten; and touches what nobody here knows of. */
  #commit(shard: number, model: ShardModel): ShardCommit {
    const { chance, below, pick } = this.#random;
    const version = this.#version(shard, chance(0.05) ? "i0" : model.incarnation, model.shard.version + 1);
    if (chance(0.1)) version.version += pick([-1, 1]);
    const last = version.last.filter(([source, n]) => n > (model.shard.last.get(source) ?? 0));
    const decided = new Map(last);
    const isDecided = ({ source, n }: { source: string; n: number }) => n <= (decided.get(source) ?? 0);
    const registers: ShardCommit["registers"] = [];
    for (const [name, entry] of model.shard.relations) {
      if (!isDecided(entry) && !chance(0.2)) continue;
      const [count = "", actor = ""] = name.split("\n");
      const colon = count.indexOf(":");
      const stored = pick([entry.stamp, entry.under, entry.stamp + 2 + below(2), entry.under + below(2)]);
      const stamp = Math.max(stored, entry.under);
      const past = chance(0.3) ? pick([-1, 0, 1]) : undefined;
      registers.push([Number(count.slice(0, colon)), count.slice(colon + 1), actor, stamp, past]);
    }
    if (chance(0.3)) registers.push([1, pick(SUBJECTS), "nobody", 12]);
    if (chance(0.3)) registers.push([pick(METRICS), pick(SUBJECTS), "imported", 13, 1]);
    const groups = new Map<string, [string, number]>();
    for (const { source, n } of model.shard.tallies.values())
      if (isDecided({ source, n })) groups.set(`${n} ${source}`, [source, n]);
    const names = [...groups.keys(), ...model.keyed.keys(), "gone"].filter(() => chance(0.5));
    const tallies = SUBJECTS.filter(() => chance(0.2)).map((subject): [number, string, number] => {
      return [pick(METRICS), subject, pick([-3, 0, 7, 2 ** 40])];
    });
    return {
      ...version,
      ...(chance(0.7) && { past: { names, tallies } }),
      last,
      counts: SUBJECTS.filter(() => chance(0.4)).map((subject) => [pick(METRICS), subject, below(10_000)]),
      registers,
      groups: [...groups.values(), ["gone", 4]],
      keys: [...model.keyed.values()].filter((put) => isDecided(put) || chance(0.2)).map(({ key }) => key),
    };
  }

  async #catchUp(shard: number, model: ShardModel): Promise<void> {
    const { chance, below, pick } = this.#random;
    const overlay = await this.#store.overlayOf(shard, 1_000);
    if (typeof overlay === "string") throw new Error(overlay);
    expect(overlay.sources.sort()).toEqual(model.sources());
    const ahead = pick([-1, 0, 0, 1, 3]);
    const incarnation = chance(0.1) ? `i${1 + below(3)}` : model.incarnation;
    const version = this.#version(shard, incarnation, Math.max(0, model.shard.version + ahead));
    const registers = overlay.registers.map(({ metric, subject, actor }): [number, string, string, number] => {
      const entry = model.shard.relations.get(`${metric}:${subject}\n${actor}`);
      if (!entry) throw new Error("an entry that the model lacks");
      return [metric, subject, actor, pick([entry.under, entry.under + 1, entry.stamp, entry.stamp + 1, 0])];
    });
    const keys = overlay.keys.map((key): [string, boolean] => [key, chance(0.3)]);
    for (const source of overlay.sources)
      if (!version.last.some(([name]) => name === source)) version.last.push([source, 0]);
    // Of sources that have nothing on its way those are not named that have retired; of others that is a mistake.
    if (chance(0.2)) version.last.splice(below(3), 1);
    if (chance(0.2)) registers.splice(0, 1);
    if (chance(0.2)) keys.splice(0, 1);
    const answer = await this.#store.catchUp(version, registers, keys);
    expect(answer).toBe(model.catchUp(version, registers, keys));
    if (chance(0.3)) {
      const again = await this.#store.catchUp(version, registers, keys);
      expect(again).toBe(model.catchUp(version, registers, keys));
    }
  }

  /** Numbers that are higher by now stay. */
  async #forget(): Promise<void> {
    const { chance, pick } = this.#random;
    const known = await this.#store.sources(SHARDS);
    for (const [i, shard] of SHARDS.entries()) {
      const model = this.#models.get(shard);
      const last = model && !model.foreign ? model.shard.last : new Map<string, number>();
      expect(new Map(known[i]?.map(({ source, last }) => [source, last]))).toEqual(last);
    }
    const numbers = known.flat().filter(() => chance(0.5));
    for (const state of numbers) state.last += pick([-1, 0, 0, 1]);
    await this.#maybeTwice(() => this.#store.forget(numbers));
    for (const { source, shard, last } of numbers) this.#models.get(shard)?.forget(source, last);
  }

  /** Two fill the filter, one step at a time. */
  async #fill(shard: number, model: ShardModel): Promise<void> {
    const { below, chance, pick } = this.#random;
    const token = pick(["first", "second"]);
    const step = below(3);
    if (step === 0) expect(await this.#store.beginFilling([shard], token)).toEqual([model.beginFilling(token)]);
    else if (step === 1) {
      const registers = ACTORS.filter(() => chance(0.3)).map((actor) => {
        return { metric: pick(METRICS), subject: pick(SUBJECTS), actor };
      });
      const answers = await this.#maybeTwice(() => this.#store.fill([{ shard, registers }], token));
      expect(answers).toEqual([model.fill(registers, token)]);
    } else expect(await this.#store.endFilling([shard], token)).toEqual([model.endFilling(token)]);
  }

  /** A commit that the copy is not told of, but its filter is; or a gap. */
  async #cover(shard: number, model: ShardModel): Promise<void> {
    const commit = this.#commit(shard, model);
    await this.#maybeTwice(() => this.#store.cover([commit]));
    model.cover(commit);
  }

  /** The server has another identity than the one noted, or has lost the shard. */
  async #lose(shard: number, model: ShardModel): Promise<void> {
    const raw = await this.#raw(shard);
    const head = this.#key(shard);
    if (this.#random.chance(0.5)) {
      model.foreign = true;
      await raw.send("HSET", [head, "identity", "another"]);
      expect(await this.#store.heads([shard])).toEqual([null]);
    } else {
      this.#models.delete(shard);
      const keys = (await raw.send("KEYS", [`${head}*`])) as string[];
      await raw.send("DEL", keys);
    }
  }

  /** What the port answers of everything. */
  async #compareAnswers(): Promise<void> {
    const counts = METRICS.flatMap((metric) => SUBJECTS.map((subject) => ({ metric, subject })));
    const registers = counts.flatMap((count) => ACTORS.slice(0, 3).map((actor) => ({ ...count, actor })));
    const answers = await this.#store.read(SHARDS.map((shard) => ({ shard, counts, registers })));
    const tokens = await this.#store.tokens(SHARDS);
    for (const [i, shard] of SHARDS.entries()) {
      const model = this.#models.get(shard);
      if (!model || model.foreign) {
        expect(answers[i]).toBe(model ? "foreign" : "none");
        expect(tokens[i]).toBe(model ? "foreign" : "none");
        continue;
      }
      const { version, position, end } = model.shard;
      const answer = answers[i] as ShardRead;
      this.#holdsByToken(shard, answer, tokens[i] as ShardToken, counts);
      expect(answer).toEqual({
        token: answer.token,
        pasts: model.past.length,
        head: { incarnation: model.incarnation, version, position, end, epoch: model.epoch },
        counts: counts.map(({ metric, subject }) => model.shown(metric, subject)),
        registers: registers.map(({ metric, subject, actor }) => model.stamp(metric, subject, actor)),
      });
      await this.#comparePast(shard, model);
      const count = this.#random.pick(counts);
      const actors = await this.#store.actorsOnTheWay(shard, count, 1_000);
      if (typeof actors === "string") throw new Error(actors);
      const name = `${count.metric}:${count.subject}`;
      const here = [...model.shard.relations].filter(([, entry]) => entry.count === name);
      expect(new Map(actors)).toEqual(new Map(here.map(([key, { stamp }]) => [key.split("\n")[1] ?? "", stamp])));
    }
  }

  /** The moves between two places. */
  async #comparePast(shard: number, model: ShardModel): Promise<void> {
    const { pick } = this.#random;
    const { epoch, past, places } = model;
    const from = pick([0, pick(places)]);
    const to = pick([past.length, Math.max(from, pick(places))]);
    const asked = [
      { shard, epoch, from, to },
      { shard, epoch: "another", from, to },
    ];
    const [told, other] = await this.#store.pastSince(asked);
    const { first, moves } = model.pastSince(from, to);
    expect([told?.first, other]).toEqual([first, null]);
    // Where some are forgotten nobody looks at the others.
    if (first === from + 1) expect(told?.moves.map(String).sort()).toEqual(moves.map(String).sort());
  }

  /** What was read under a token is shown for as long as the token stays. */
  #holdsByToken(shard: number, read: ShardRead, { token, head }: ShardToken, names: readonly CountName[]): void {
    expect({ token, head }).toEqual({ token: read.token, head: read.head });
    const name = `${shard} ${token}`;
    const before = this.#readAt.get(name) ?? new Map<string, number>();
    this.#readAt.set(name, before);
    for (const [i, { metric, subject }] of names.entries()) {
      const count = read.counts[i];
      const known = before.get(`${metric} ${subject}`);
      if (count === null || count === undefined) continue;
      if (known !== undefined) expect(count).toBe(known);
      before.set(`${metric} ${subject}`, count);
    }
  }

  /** Every key of the shard but the bases' buckets, against the model. */
  async #compare(shard: number): Promise<void> {
    const raw = await this.#raw(shard);
    const model = this.#models.get(shard);
    const key = this.#key(shard);
    const hash = async (name: string) => ((await raw.send("HGETALL", [name])) ?? {}) as Record<string, string>;
    const [head, sums, tallies, keyed, names] = await Promise.all([
      hash(key),
      hash(`${key}:sums`),
      hash(`${key}:tallies`),
      hash(`${key}:keyed`),
      raw.send("SMEMBERS", [`${key}:names`]) as Promise<string[]>,
    ]);
    if (!model) return expect(head).toEqual({});
    const { shard: is } = model;
    expect([head.version, head.position, head.end, head.epoch, head.incarnation]).toEqual([
      ...[is.version, is.position, is.end].map(String),
      model.epoch,
      model.incarnation,
    ]);
    const last = Object.entries(head).filter(([field]) => field.startsWith(">"));
    expect(Object.fromEntries(last.map(([field, n]) => [field.slice(1), n]))).toEqual(texts(is.last));
    expect(sums).toEqual(texts(is.sums));
    const groups: Record<string, string> = {};
    for (const { source, n, count, amount } of is.tallies.values()) {
      const field = `${n} ${source}`;
      groups[field] = `${groups[field] === undefined ? "" : `${groups[field]}\n`}${count}\n${amount}`;
    }
    expect(tallies).toEqual(groups);
    const puts = [...model.keyed.values()].map((put) => [
      put.key,
      `${put.metric}:${put.subject}\n${put.amount}\n${put.n} ${put.source}\n${put.atMs}\n${put.body}`,
    ]);
    expect(keyed).toEqual(Object.fromEntries(puts));
    const relations: Record<string, Record<string, string>> = {};
    for (const [name, entry] of is.relations) {
      const actor = name.split("\n")[1] ?? "";
      relations[entry.count] ??= {};
      (relations[entry.count] as Record<string, string>)[actor] =
        `${entry.stamp} ${entry.under} ${entry.n} ${entry.source}`;
    }
    expect(new Set(names)).toEqual(new Set(Object.keys(relations)));
    const entries = await Promise.all(names.map((name) => hash(`${key}:r:${name}`)));
    expect(Object.fromEntries(names.map((name, i) => [name, entries[i]]))).toEqual(relations);
  }

  #event(shard: number): RelationPut {
    const { chance, below, pick } = this.#random;
    const model = this.#models.get(shard);
    const metric = pick(METRICS);
    const subject = pick(SUBJECTS);
    const actor = pick(ACTORS);
    const source = pick(SOURCES);
    const entry = model?.shard.relations.get(`${metric}:${subject}\n${actor}`);
    const stamp = chance(0.1) ? STAMP_MAX - below(4) : 4_000_000_000_000_000 + below(1e6);
    const version = (model?.shard.version ?? 1) - (chance(0.2) ? 1 : 0);
    const hint = chance(0.3) ? null : { stamp: entry?.under ?? pick([0, stamp, stamp - 1, stamp - 2]), version };
    return { metric, subject, actor, stamp, source, n: this.#next(shard, source, 1), hint, past: chance(0.4) };
  }

  #next(shard: number, source: string, by: number): number {
    const key = `${shard}:${source}`;
    const n = (this.#given.get(key) ?? 0) + by;
    this.#given.set(key, n);
    return n;
  }

  /** Sources never go back, and positions neither; some numbers given are still to be decided. */
  #version(shard: number, incarnation: string, version: number): ShardVersion {
    const { below, chance } = this.#random;
    const is = this.#models.get(shard)?.shard;
    const last = SOURCES.filter((source) => is?.last.has(source) || chance(0.3)).map((source): [string, number] => {
      const from = is?.last.get(source) ?? 0;
      const to = this.#given.get(`${shard}:${source}`) ?? 0;
      return [source, from + below(Math.max(0, to - from) + 1)];
    });
    return { shard, incarnation, version, position: (is?.position ?? 0) + below(3), last };
  }

  #key(shard: number): string {
    return `${this.#prefix}:{${shard.toString(16).padStart(2, "0")}}`;
  }
}

function texts(numbers: ReadonlyMap<string, number>): Record<string, string> {
  return Object.fromEntries([...numbers].map(([name, n]) => [name, String(n)]));
}
