import { merge } from "../arithmetic/register.ts";
import { shardOf } from "../arithmetic/shard-of.ts";
import { isActive, type Stamp } from "../arithmetic/stamp.ts";
import { type Actor, COUNT_MAX, type Metric, type Subject } from "../model.ts";
import type { Counting, Page, PageQuery } from "../ports/counting.ts";
import type { HotStore, Missing, PastPlace, RegisterName, ShardToken } from "../ports/hot-store.ts";
import type { CounterTable } from "../tallies/table.ts";
import { AWAY, isAway, storeAway } from "./away.ts";
import type { Freshness } from "./freshness.ts";
import type { SharedLedger } from "./ledger.ts";
import type { Look, Looks } from "./looks.ts";
import { type Refresher, shownBy } from "./refresher.ts";
import { ShardTokens } from "./shard-tokens.ts";
import { ShownCache } from "./shown-cache.ts";
import type { WithoutRedis } from "./without-redis.ts";

interface PageParts {
  table: CounterTable;
  freshness: Freshness;
  hot: HotStore;
  looks: Looks;
  refresher: Refresher;
  ledger: SharedLedger;
  flushMs: number;
  withoutRedis: WithoutRedis;
  /** What a subject shows, one by one: for tallies of this node that must be refreshed, and while Redis is away. */
  counts: Counting["counts"];
}

/** A subject of a page under way. */
interface Line {
  place: number;
  subject: Subject;
  shard: number;
  /** Of this node's notes there (Freshness), before Redis is asked. */
  seq: number;
  /** Places among the metrics whose counts Redis must be asked for. */
  asked: number[];
  /** Those of them that this node has in its table, and knows too little of the others. */
  stale: number[];
}

/** Whose registers a page shows, and where they stand. */
interface Mine {
  subjects: readonly Subject[];
  actor: Actor;
  relations: readonly Metric[];
}

/** Where each count was read, if that is asked for. */
type Places = (PastPlace | null)[] | null;

/** A page's lists, to be filled. */
interface Filled {
  counts: number[];
  places: Places;
  stamps: Stamp[];
}

type Register = [subject: Subject, metric: number, stamp: Stamp];

/** What a shard must be asked for, each with its place in the answer. */
interface ShardLook {
  counts: [at: number, name: Look["counts"][number]][];
  registers: [at: number, name: RegisterName][];
}

/**
 * A page in a cluster: this node's table, then Redis, then one statement of MySQL.
 *
 * Redis is asked for the tokens of the page's shards, together with all other pages of the moment. Where a shard's token is
 * the one that its counts were read at, they hold: this thread read them at a moment no different from now. What is missing,
 * and registers where any are on their way, is looked up, all of a shard in one call. The ledger comes last, so that what
 * moves there meanwhile is seen at least once.
 */
export class PageReader {
  readonly #parts: PageParts;
  readonly #cache = new ShownCache();
  readonly #tokens: ShardTokens;

  constructor(parts: PageParts) {
    this.#parts = parts;
    this.#tokens = new ShardTokens(parts.hot);
  }

  async read(query: PageQuery): Promise<Omit<Page, "known">> {
    const { subjects, metrics, actor } = query;
    const relations = metrics.filter(({ kind }) => kind === "relation");
    const asked = this.#parts.freshness.tick();
    const { counts, lines } = this.#fromTable(query);
    const places: Places = query.places ? new Array(counts.length).fill(null) : null;
    const stamps: Stamp[] = new Array(actor === null ? 0 : subjects.length * relations.length).fill(0);
    try {
      await this.#fromRedis(query, { relations, lines, counts, places, stamps });
      if (places === null) await this.#take(lines, metrics, { counts, asked });
      else await this.#addOwn(lines, metrics, { counts, places, asked });
    } catch (error) {
      if (!isAway(error)) throw error;
      await this.#one(lines, metrics, counts);
      places?.fill(null);
      if (actor !== null) await this.#own({ subjects, actor, relations }, stamps);
    }
    if (actor !== null && relations.length > 0) await this.#fromLedger({ subjects, actor, relations }, stamps);
    const shown = counts.map((count) => Math.min(count, COUNT_MAX));
    return { counts: shown, mine: stamps.map(isActive), ...(places && { places }) };
  }

  /**
   * Tallies that this node has and knows well enough, and what is left to ask for. What a slot knows was read at a place of which
   * nobody has kept account, so who asks for places has all of it read.
   */
  #fromTable({ subjects, metrics, places }: PageQuery): { counts: number[]; lines: Line[] } {
    const { table, freshness, flushMs } = this.#parts;
    const counts: number[] = new Array(subjects.length * metrics.length).fill(0);
    const lines: Line[] = [];
    table.enter();
    try {
      for (let place = 0; place < subjects.length; place++) {
        const subject = subjects[place] as Subject;
        const shard = shardOf(subject);
        const line: Line = { place, subject, shard, seq: freshness.seq(shard), asked: [], stale: [] };
        for (let j = 0; j < metrics.length; j++) {
          const metric = metrics[j] as Metric;
          const slot = metric.kind === "tally" ? table.find(metric.id, subject) : -1;
          const isHere = slot >= 0 && table.isLoaded(slot);
          if (isHere && !places && freshness.ageMs(slot) <= flushMs)
            counts[place * metrics.length + j] = table.shown(slot);
          else {
            line.asked.push(j);
            if (isHere) line.stale.push(j);
          }
        }
        lines.push(line);
      }
    } finally {
      table.leave();
    }
    return { counts, lines };
  }

  /**
   * What Redis said of tallies that this node has too becomes what they know of the others, as in Refresher: it was asked
   * for after `asked` and after the shard's seq was looked at. That a count is still the one read under the shard's token
   * is as good as reading it now. What may not be believed is read alone.
   */
  async #take(
    lines: readonly Line[],
    metrics: readonly Metric[],
    { counts, asked }: { counts: number[]; asked: number },
  ): Promise<void> {
    const { table, freshness } = this.#parts;
    const again: { at: number; subject: Subject; metric: Metric }[] = [];
    table.enter();
    try {
      for (const { place, subject, shard, seq, stale } of lines) {
        for (const j of stale) {
          const metric = metrics[j] as Metric;
          const at = place * metrics.length + j;
          const slot = table.find(metric.id, subject);
          const reading = { count: counts[at] as number, asked, shard, seq };
          const isTaken = seq % 2 === 0 && slot >= 0 && table.isLoaded(slot) && freshness.take(table, slot, reading);
          if (isTaken) counts[at] = table.shown(slot);
          else again.push({ at, subject, metric });
        }
      }
    } finally {
      table.leave();
    }
    await Promise.all(
      again.map(async ({ at, subject, metric }) => {
        counts[at] = (await this.#parts.counts(subject, [metric]))[0] as number;
      }),
    );
  }

  /**
   * For places: what Redis said, with what this node has added since. The slots take it in like any reading, and may have
   * a newer one, which was read at another place.
   */
  async #addOwn(
    lines: readonly Line[],
    metrics: readonly Metric[],
    { counts, places, asked }: { counts: number[]; places: (PastPlace | null)[]; asked: number },
  ): Promise<void> {
    const { table, freshness, refresher, withoutRedis } = this.#parts;
    const again = lines.flatMap(({ place, subject, shard, seq, stale }) =>
      stale.flatMap((j) => {
        const at = place * metrics.length + j;
        const name = { metric: (metrics[j] as Metric).id, subject };
        const shown = shownBy(table, freshness, name, { count: counts[at] as number, asked, shard, seq });
        if (shown === null) return { at, shard, name };
        counts[at] = shown;
        return [];
      }),
    );
    await Promise.all(
      again.map(async ({ at, shard, name }) => {
        const read = await refresher.read(shard, name).catch(storeAway);
        counts[at] = read === AWAY ? await withoutRedis.count(name) : read.count;
        places[at] = read === AWAY ? null : read.place;
      }),
    );
  }

  async #fromRedis(
    { metrics, actor }: PageQuery,
    { relations, lines, counts, places, stamps }: Filled & { relations: Metric[]; lines: Line[] },
  ): Promise<void> {
    const tokens = await this.#tokens.ask(lines.map(({ shard }) => shard));
    const looks = new Map<number, ShardLook>();
    const lookAt = (shard: number): ShardLook => {
      const look = looks.get(shard) ?? { counts: [], registers: [] };
      looks.set(shard, look);
      return look;
    };
    for (const { place, subject, shard, asked } of lines) {
      const token = this.#usable(shard, tokens.get(shard) as ShardToken | Missing);
      const known = token && this.#cache.find(shard, token.token, subject);
      for (const j of asked) {
        const { id: metric } = metrics[j] as Metric;
        const at = place * metrics.length + j;
        const count = known?.[metric];
        if (count === undefined) lookAt(shard).counts.push([at, { metric, subject }]);
        else {
          counts[at] = count;
          if (places) places[at] = this.#cache.placeOf(shard);
        }
      }
      if (actor === null || (token && !token.hasRegisters)) continue;
      for (const [k, { id: metric }] of relations.entries())
        lookAt(shard).registers.push([place * relations.length + k, { metric, subject, actor }]);
    }
    await Promise.all(
      Array.from(looks, async ([shard, asked]) => {
        const names = asked.counts.map(([, name]) => name);
        const registers = asked.registers.map(([, name]) => name);
        const looked = await this.#parts.looks.look({ shard, counts: names, registers });
        for (const [i, [at, name]] of asked.counts.entries()) {
          counts[at] = looked.counts[i] as number;
          if (places) places[at] = looked.place;
          this.#cache.put(looked, name, counts[at]);
        }
        for (const [i, [at]] of asked.registers.entries()) stamps[at] = looked.registers[i] ?? 0;
      }),
    );
  }

  #usable(shard: number, token: ShardToken | Missing): ShardToken | null {
    if (token === "none" || token === "foreign") return null;
    return token.head.version < this.#parts.freshness.versionOf(shard) ? null : token;
  }

  /** Redis is away: each subject as it is read alone. */
  async #one(lines: Line[], metrics: readonly Metric[], counts: number[]): Promise<void> {
    await Promise.all(
      lines.map(async ({ place, subject, asked }) => {
        const found = await this.#parts.counts(
          subject,
          asked.map((j) => metrics[j] as Metric),
        );
        for (const [i, j] of asked.entries()) counts[place * metrics.length + j] = found[i] as number;
      }),
    );
  }

  /** Redis is away: this node's own acts of the actor. */
  async #own({ subjects, actor, relations }: Mine, stamps: Stamp[]): Promise<void> {
    const lists = await Promise.all(relations.map(({ id }) => this.#parts.withoutRedis.subjects(actor, id)));
    const found = lists.flatMap((list, k) => list.map(({ id, stamp }): Register => [id, relations[k]?.id ?? 0, stamp]));
    raise(stamps, found, { subjects, relations });
  }

  async #fromLedger({ subjects, actor, relations }: Mine, stamps: Stamp[]): Promise<void> {
    raise(stamps, await this.#parts.ledger.registersOfActor(actor, subjects), { subjects, relations });
  }
}

/** Registers of one actor, each at its place among the subjects and relations of a page: the higher stamp holds. */
function raise(stamps: Stamp[], found: Register[], { subjects, relations }: Omit<Mine, "actor">): void {
  const places = new Map(subjects.map((subject, place) => [subject, place]));
  const columns = new Map(relations.map(({ id }, k) => [id, k]));
  for (const [subject, metric, stamp] of found) {
    const place = places.get(subject);
    const k = columns.get(metric);
    if (place === undefined || k === undefined) continue;
    const at = place * relations.length + k;
    stamps[at] = merge(stamps[at] as Stamp, stamp);
  }
}
