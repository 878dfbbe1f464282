import type { CountName, RegisterName } from "../../ports/hot-store.ts";
import { CallArgs } from "./call-args.ts";
import type { Driver, Reply, ScriptCall } from "./driver.ts";
import bases from "./lua/bases.lua" with { type: "text" };
import changed from "./lua/changed.lua" with { type: "text" };
import counts from "./lua/counts.lua" with { type: "text" };
import dump from "./lua/dump.lua" with { type: "text" };
import filter from "./lua/filter.lua" with { type: "text" };
import never from "./lua/never.lua" with { type: "text" };
import resum from "./lua/resum.lua" with { type: "text" };
import shift from "./lua/shift.lua" with { type: "text" };
import unfilter from "./lua/unfilter.lua" with { type: "text" };
import { Names, parseCount } from "./names.ts";
import { groupOf, HEAD_FIELDS, headOf, isMissing, list } from "./replies.ts";
import { head, script } from "./scripts.ts";

const SCRIPTS = {
  dump: script("dump", head("incarnation", "version", "position", "end", "epoch"), dump),
  bases: script("bases", head("incarnation", "version", "bases"), counts, bases),
  never: script("never", head("incarnation", "version", "filter"), filter, never),
  resum: script("resum", head(), changed, shift, resum),
  unfilter: script("unfilter", head(), unfilter),
} as const;

/** All that a shard has on its way, as it stands there. */
export interface Overlay {
  incarnation: string;
  version: number;
  sums: Map<string, number>;
  /** What the sums are to be. */
  recounted: Map<string, number>;
  registers: {
    metric: number;
    subject: string;
    actor: string;
    stamp: number;
    under: number;
    source: string;
    n: number;
  }[];
  entries: OverlayEntry[];
}

/** One record on its way; `count`: what a register counts for. */
export interface OverlayEntry {
  name: string;
  count?: CountName;
  /** Whose record it is. */
  source: string;
  n: number;
  isNote: boolean;
}

/** Looks at the hot store's inside, for `tally verify`. */
export class Inspector {
  readonly #driver: Driver;
  readonly #names: Names;

  constructor(driver: Driver, prefix: string) {
    this.#driver = driver;
    this.#names = new Names(prefix);
  }

  /** Null where the shard has no copy here. */
  async overlay(shard: number): Promise<Overlay | null> {
    const reply = await this.#run("dump", shard, new CallArgs());
    return isMissing(reply) ? null : overlayOf(list(reply));
  }

  /** The bases of counts and the version they are of; null for a count that is not loaded, or where there is no copy. */
  async bases(shard: number, names: readonly CountName[]) {
    const args = new CallArgs();
    for (const { metric, subject } of names) args.count(metric, subject);
    const reply = await this.#run("bases", shard, args);
    if (isMissing(reply)) return null;
    const [incarnation, version, ...values] = list(reply);
    const found = names.map((_, i) => (values[i] === null || values[i] === undefined ? null : Number(values[i])));
    return { incarnation: String(incarnation), version: Number(version), bases: found };
  }

  /** Of which registers the shards' filters say that they never were, and at which version; null where there is no copy. */
  async never(asked: readonly { shard: number; registers: readonly RegisterName[] }[]) {
    const calls = asked.map(({ shard, registers }) => {
      const args = new CallArgs();
      for (const { metric, subject, actor } of registers) args.hashes(metric, subject, actor);
      return this.#call("never", shard, args);
    });
    const replies = await this.#driver.run(calls);
    return asked.map(({ registers }, i) => {
      const reply = replies[i] as Reply;
      if (isMissing(reply)) return null;
      const [incarnation = "", version, ...places] = list(reply).map(String);
      const named = places.map((place) => registers[Number(place)] as RegisterName);
      return { incarnation, version: Number(version), never: named };
    });
  }

  /** Takes a shard's filter away. */
  async unfilter(shard: number): Promise<void> {
    await this.#run("unfilter", shard, new CallArgs());
  }

  /** Adds up anew what a shard has on its way. */
  async resum(shard: number): Promise<void> {
    await this.#run("resum", shard, new CallArgs());
  }

  async #run(name: keyof typeof SCRIPTS, shard: number, args: CallArgs): Promise<Reply> {
    const [reply] = await this.#driver.run([this.#call(name, shard, args)]);
    return reply as Reply;
  }

  #call(name: keyof typeof SCRIPTS, shard: number, args: CallArgs): ScriptCall {
    return { script: SCRIPTS[name], key: this.#names.shard(shard), args: args.list() };
  }
}

function overlayOf(fields: Reply[]): Overlay {
  const { incarnation, version } = headOf(fields);
  const [sums, tallies, keyed, registers] = fields.slice(HEAD_FIELDS).map((each) => list(each as Reply).map(String));
  const overlay: Overlay = {
    incarnation,
    version,
    sums: new Map(pairs(sums ?? []).map(([count, sum]) => [count, Number(sum)])),
    recounted: new Map(),
    registers: [],
    entries: [],
  };
  const add = (count: string, amount: number) => {
    const sum = (overlay.recounted.get(count) ?? 0) + amount;
    if (sum === 0) overlay.recounted.delete(count);
    else overlay.recounted.set(count, sum);
  };
  for (const [name, text] of pairs(tallies ?? [])) {
    const [source, n] = groupOf(name);
    overlay.entries.push({ name: `note ${name}`, source, n, isNote: true });
    for (const [count, amount] of pairs(text.split("\n"))) add(count, Number(amount));
  }
  for (const [key, text] of pairs(keyed ?? [])) {
    const [count = "", amount = "", mine = ""] = text.split("\n");
    const [source, n] = groupOf(mine);
    overlay.entries.push({ name: `key ${key}`, source, n, isNote: false });
    add(count, Number(amount));
  }
  const entries = registers ?? [];
  for (let i = 0; i + 2 < entries.length; i += 3) {
    const [count = "", actor = "", text = ""] = entries.slice(i, i + 3);
    const [stamp = "", under = "", n = "", ...source] = text.split(" ");
    const name = { name: `of ${actor}`, count: parseCount(count), isNote: false };
    overlay.entries.push({ ...name, source: source.join(" "), n: Number(n) });
    add(count, (Number(stamp) % 2) - (Number(under) % 2));
    const register = { ...parseCount(count), actor, stamp: Number(stamp), under: Number(under) };
    overlay.registers.push({ ...register, source: source.join(" "), n: Number(n) });
  }
  return overlay;
}

function pairs(fields: readonly string[]): [string, string][] {
  const found: [string, string][] = [];
  for (let i = 0; i + 1 < fields.length; i += 2) found.push([fields[i] as string, fields[i + 1] as string]);
  return found;
}
