import { randomBytes } from "node:crypto";
import type { Place } from "../arithmetic/place.ts";
import { newestFirst } from "../arithmetic/place.ts";
import { shardOf } from "../arithmetic/shard-of.ts";
import { isActive, msOf, type Stamp } from "../arithmetic/stamp.ts";
import type { SketchBoard } from "../distinct/board.ts";
import type { Code } from "../distinct/code.ts";
import type { Distinct } from "../distinct/sketches.ts";
import { unavailable } from "../errors.ts";
import { ON_THE_WAY_MAX } from "../limits.ts";
import { ofRelations } from "../local/known.ts";
import { listPage } from "../local/lists.ts";
import { type Actor, COUNT_MAX, countTooHigh, type Metric, type RelationState, type Subject } from "../model.ts";
import type {
  CountedPage,
  CountedQuery,
  Counting,
  ListPage,
  ListQuery,
  OnceKey,
  Page,
  PageQuery,
  Related,
} from "../ports/counting.ts";
import type { CountName, HotStore, Missing, RegisterName } from "../ports/hot-store.ts";
import { Adder } from "../tallies/adder.ts";
import { type CounterTable, TOO_HIGH } from "../tallies/table.ts";
import { NO_BODY } from "./act-keys.ts";
import { Acts } from "./acts.ts";
import type { Applied } from "./applied.ts";
import { fromLedger, isAway } from "./away.ts";
import { ClusterBulk } from "./bulk.ts";
import { CountedReader } from "./counted.ts";
import { type Added, Counters } from "./counters.ts";
import type { Freshness } from "./freshness.ts";
import { KnownReader } from "./known.ts";
import type { SharedLedger } from "./ledger.ts";
import { enough, within } from "./list-rows.ts";
import type { LoadLocks } from "./load-locks.ts";
import type { LogClient } from "./log-client.ts";
import { Looks } from "./looks.ts";
import { PageReader } from "./pages.ts";
import { Refresher } from "./refresher.ts";
import type { Shards } from "./shards.ts";
import { Visiting } from "./visiting.ts";
import { WithoutRedis } from "./without-redis.ts";

interface CountingParts {
  table: CounterTable;
  freshness: Freshness;
  hot: HotStore;
  ledger: SharedLedger;
  shards: Shards;
  locks: LoadLocks;
  log: LogClient;
  applied: Applied;
  sketches: SketchBoard;
  flushMs: number;
  /** Whether Redis is there, for all that is known. */
  isShown(): boolean;
  /** Asks main to make room in the table, or to flush. */
  press(): void;
}

/** An answer to an addition needs the others' share less fresh than a reading: this many flush intervals. */
const ADD_AGE = 3;

/**
 * Counting in a cluster, as one worker does it.
 *
 * Tallies: an atomic add in this node's table, whose slots know what all nodes together had at most a flush interval ago.
 * Relations and keyed tallies: see Acts. Reads: the shard in Redis, overlay before ledger, so that what moves from one to
 * the other in between is seen at least once, and the higher stamp is the newer.
 */
export class ClusterCounting implements Counting {
  readonly bulk: ClusterBulk;
  readonly #parts: CountingParts;
  readonly #table: CounterTable;
  readonly #counters: Counters;
  readonly #freshness: Freshness;
  readonly #looks: Looks;
  readonly #refresher: Refresher;
  readonly #withoutRedis: WithoutRedis;
  readonly #acts: Acts;
  readonly #visiting: Visiting;
  readonly #counted: CountedReader;
  readonly #pages: PageReader;
  readonly #knownReader: KnownReader;

  constructor(parts: CountingParts) {
    this.#parts = parts;
    this.#table = parts.table;
    this.#freshness = parts.freshness;
    this.#counters = new Counters(parts);
    this.#looks = new Looks(parts);
    this.#refresher = new Refresher({ ...parts, looks: this.#looks });
    this.#visiting = new Visiting({ board: parts.sketches, log: parts.log });
    this.#withoutRedis = new WithoutRedis(parts);
    const counts: Counting["counts"] = (subject, metrics) => this.counts(subject, metrics);
    this.#counted = new CountedReader({ ...parts, counts, withoutRedis: this.#withoutRedis });
    this.#knownReader = new KnownReader({
      ledger: parts.ledger,
      actorsOnTheWay: (list) => this.#actorsOnTheWay(list),
      subjectsOnTheWay: (actor, metric, type) => this.#subjectsOnTheWay(actor, metric, type),
    });
    const readers = { looks: this.#looks, refresher: this.#refresher, withoutRedis: this.#withoutRedis };
    this.#pages = new PageReader({ ...parts, ...readers, counts });
    this.#acts = new Acts({ ...parts, looks: this.#looks });
    this.bulk = new ClusterBulk({
      ...parts,
      adds: new Adder(parts.table),
      acts: this.#acts,
      add: (metric, subject, by) => {
        const added = this.#counters.add(metric, subject, by);
        if (added === null || added.count === TOO_HIGH) return this.#addInTime(added, metric, subject, by);
      },
      expire: (metric, subject) => this.#counters.expire(metric, subject),
    });
  }

  add({ id: metric }: Metric, subject: Subject, by: number): number | Promise<number | null> {
    const added = this.#counters.add(metric, subject, by);
    const isThere = added !== null && added.count !== TOO_HIGH;
    if (isThere && added.ageMs <= ADD_AGE * this.#parts.flushMs) return added.count;
    return this.#addSlowly(added, metric, subject, by);
  }

  /** Without a key it gets one of its own: what may reach Redis twice needs a name. */
  async addOnce(
    { id: metric }: Metric,
    subject: Subject,
    by: number,
    once: OnceKey = { key: randomBytes(16).toString("hex"), body: NO_BODY },
    atMs?: number,
    visitor?: Code,
  ): Promise<number | null> {
    const more = { atMs: atMs ?? null, visitor: visitor ?? null };
    const added = await this.#acts.addOnce({ metric, subject }, by, once, more);
    this.#counters.expire(metric, subject);
    const now = added === null ? null : await this.#refreshed(metric, subject);
    // Lower only where Redis has lost data in between.
    return added === null || now === null ? null : Math.min(Math.max(added, now), COUNT_MAX);
  }

  visit({ id }: Metric, subject: Subject, visitor: Code): undefined | Promise<undefined> {
    return this.#visiting.visit(id, subject, visitor);
  }

  distinct({ id }: Metric, subject: Subject): Promise<Distinct> {
    return this.#visiting.count(id, subject);
  }

  relate(
    { id: metric }: Metric,
    subject: Subject,
    actor: Actor,
    active: boolean,
    once?: OnceKey,
    atMs?: number,
  ): Promise<Related> {
    return this.#acts.relate({ metric, subject, actor }, active, { ...(once && { once }), ...(atMs && { atMs }) });
  }

  async relation({ id: metric }: Metric, subject: Subject, actor: Actor): Promise<RelationState> {
    const { counts, stamps } = await this.#read(subject, [metric], [{ metric, subject, actor }]);
    const stamp = stamps[0] as Stamp;
    const active = isActive(stamp);
    return { active, count: counts[0] as number, at: active ? msOf(stamp) : null };
  }

  counts(subject: Subject, metrics: readonly Metric[]): number[] | Promise<number[]> {
    const counts: number[] = new Array(metrics.length).fill(-1);
    /** Places of counts that Redis must be asked for; those of them that have a slot here. */
    const asked: number[] = [];
    const stale: number[] = [];
    this.#table.enter();
    try {
      for (const [i, { id, kind }] of metrics.entries()) {
        const slot = kind === "tally" ? this.#table.find(id, subject) : -1;
        if (slot < 0 || !this.#table.isLoaded(slot)) asked.push(i);
        else if (this.#freshness.ageMs(slot) > this.#parts.flushMs) stale.push(i);
        else counts[i] = Math.min(this.#table.shown(slot), COUNT_MAX);
      }
    } finally {
      this.#table.leave();
    }
    if (asked.length + stale.length === 0) return counts;
    return this.#countsSlowly(subject, metrics, { counts, asked, stale });
  }

  async mine(subject: Subject, actor: Actor, metrics: readonly Metric[]): Promise<string[]> {
    const names = metrics.map(({ id }) => ({ metric: id, subject, actor }));
    const { stamps } = await this.#read(subject, [], names);
    return metrics.filter((_, i) => isActive(stamps[i] as Stamp)).map(({ name }) => name);
  }

  async page(query: PageQuery): Promise<Page> {
    const { subjects, metrics, actor, known } = query;
    const read = await fromLedger(() => this.#pages.read(query));
    const { counts, mine } = read;
    if (actor === null || known === null) return { ...read, known: [] };
    const relations = metrics.filter(({ kind }) => kind === "relation");
    const shown = ofRelations(metrics, counts);
    const lists = subjects.flatMap((subject) => relations.map(({ id }) => ({ subject, metric: id })));
    const listed = lists.map((list, i) => ({ ...list, count: shown[i] as number }));
    return { counts, mine, known: await fromLedger(() => this.#knownReader.read(actor, known, listed)) };
  }

  async actors({ id: metric }: Metric, subject: Subject, query: ListQuery): Promise<ListPage> {
    const onTheWay = await this.#actorsOnTheWay({ metric, subject });
    const { before, limit } = enough(query, onTheWay);
    const rows = await fromLedger(() => this.#parts.ledger.newestActors(metric, subject, before, limit));
    return listPage(onTheWay, query, within(rows));
  }

  async actorCounts(actor: Actor, metrics: readonly Metric[], type?: string): Promise<number[]> {
    return Promise.all(metrics.map(({ id }) => this.#actorCount(actor, id, type)));
  }

  async subjects({ id: metric }: Metric, actor: Actor, query: ListQuery): Promise<ListPage> {
    const onTheWay = await this.#subjectsOnTheWay(actor, metric, query.type);
    const { before, limit } = enough(query, onTheWay);
    const rows = await fromLedger(() => this.#parts.ledger.newestSubjects(metric, actor, before, limit, query.type));
    return listPage(onTheWay, query, within(rows));
  }

  counted(query: CountedQuery): Promise<CountedPage> {
    return fromLedger(() => this.#counted.read(query));
  }

  // Tallies

  async #addSlowly(added: Added | null, metric: number, subject: Subject, by: number): Promise<number | null> {
    await this.#addInTime(added, metric, subject, by);
    return this.#refreshed(metric, subject);
  }

  /** Adds what was not added at the first try. What this node knows may be from before a set: nobody is refused for that. */
  async #addInTime(first: Added | null, metric: number, subject: Subject, by: number): Promise<void> {
    const added = first ?? (await this.#counters.addInTime(metric, subject, by));
    if (added.count !== TOO_HIGH) return;
    await this.#refreshed(metric, subject);
    const again = await this.#counters.addInTime(metric, subject, by);
    if (again.count === TOO_HIGH) throw countTooHigh();
  }

  /** Null where a store is away. */
  async #refreshed(metric: number, subject: Subject): Promise<number | null> {
    try {
      return await this.#refresher.refresh(shardOf(subject), { metric, subject });
    } catch (error) {
      if (isAway(error)) return null;
      throw error;
    }
  }

  // Reads

  async #countsSlowly(
    subject: Subject,
    metrics: readonly Metric[],
    { counts, asked, stale }: { counts: number[]; asked: number[]; stale: number[] },
  ): Promise<number[]> {
    const idOf = (place: number) => (metrics[place] as Metric).id;
    await Promise.all([
      asked.length > 0 &&
        this.#read(subject, asked.map(idOf), []).then((read) => {
          for (const [i, place] of asked.entries()) counts[place] = read.counts[i] as number;
        }),
      ...stale.map(async (place) => {
        const count = await this.#refreshed(idOf(place), subject);
        counts[place] = count ?? (await this.#withoutRedis.count({ metric: idOf(place), subject }));
      }),
    ]);
    return counts;
  }

  /** Counts and registers of one subject. */
  async #read(
    subject: Subject,
    metrics: number[],
    registers: RegisterName[],
  ): Promise<{ counts: number[]; stamps: Stamp[] }> {
    const shard = shardOf(subject);
    const counts: CountName[] = metrics.map((metric) => ({ metric, subject }));
    try {
      const looked = await this.#looks.look({ shard, counts, registers });
      const stamps = registers.map(
        async (name, i) => looked.registers[i] ?? (await this.#looks.hint(shard, name)).stamp,
      );
      return { counts: looked.counts.map((count) => Math.min(count, COUNT_MAX)), stamps: await Promise.all(stamps) };
    } catch (error) {
      if (!isAway(error)) throw error;
    }
    const stamps = await this.#withoutRedis.registers(registers);
    return { counts: await Promise.all(counts.map((name) => this.#withoutRedis.count(name))), stamps };
  }

  // Lists

  #actorsOnTheWay(count: CountName): Promise<Place[]> {
    const shard = shardOf(count.subject);
    const inRedis = async () => {
      const found = await this.#untilThere(shard, () => this.#parts.hot.actorsOnTheWay(shard, count, ON_THE_WAY_MAX));
      if (found === "many")
        throw unavailable("too much of this list is on its way into MySQL: ask again when that is done");
      return found.map(([id, stamp]) => ({ id, stamp })).sort(newestFirst);
    };
    return this.#orOwn(inRedis, () => this.#withoutRedis.actors(count));
  }

  /** Hints first; each is looked up in its shard, since it may name what never happened. */
  #subjectsOnTheWay(actor: Actor, metric: number, type: string | undefined): Promise<Place[]> {
    const inRedis = async () => {
      const hinted = await this.#parts.hot.hintsOf(actor, metric);
      const wanted = type === undefined ? hinted : hinted.filter((subject) => subject.startsWith(`${type}/`));
      const rows = await Promise.all(
        wanted.map(async (subject): Promise<Place | null> => {
          const registers = [{ metric, subject, actor }];
          const looked = await this.#looks.look({ shard: shardOf(subject), counts: [], registers });
          const stamp = looked.registers[0];
          return stamp ? { id: subject, stamp } : null;
        }),
      );
      return rows.filter((row) => row !== null).sort(newestFirst);
    };
    return this.#orOwn(inRedis, () => this.#withoutRedis.subjects(actor, metric, type));
  }

  async #actorCount(actor: Actor, metric: number, type: string | undefined): Promise<number> {
    const onTheWay = await this.#subjectsOnTheWay(actor, metric, type);
    return fromLedger(() => this.#parts.ledger.actorCountWith(metric, actor, type, onTheWay));
  }

  async #untilThere<T>(shard: number, ask: () => Promise<T | Missing>): Promise<T> {
    for (let round = 0; round < 3; round++) {
      const answer = await ask();
      if (answer !== "none" && answer !== "foreign") return answer as T;
      await this.#parts.shards.repair(shard);
    }
    throw unavailable("Redis has lost data and is being filled again");
  }

  /** What is on its way, of everybody or, while Redis is away, of this node alone: then what it shows may lag. */
  async #orOwn(ofAll: () => Promise<Place[]>, own: () => Promise<Place[]>): Promise<Place[]> {
    try {
      return await ofAll();
    } catch (error) {
      if (isAway(error)) return own();
      throw error;
    }
  }
}
