import { isBehind, newestFirst, TOP } from "../../src/arithmetic/place.ts";
import type { Distinct } from "../../src/distinct/sketches.ts";
import { Problem } from "../../src/errors.ts";
import type { Metric, RelationState } from "../../src/model.ts";
import type { Bulk, HotAdds } from "../../src/ports/bulk.ts";
import type {
  CountedPage,
  CountedQuery,
  Counting,
  ListPage,
  ListQuery,
  OnceKey,
  Page,
  PageQuery,
} from "../../src/ports/counting.ts";

interface Register {
  active: boolean;
  at: number;
  stamp: number;
}

/** Counting in plain maps, for tests of what stands in front of it. `waiting` answers with promises as the real one may. */
export class MemoryCounting implements Counting {
  readonly bulk: Bulk = {
    adds: nothingAtHand(),
    isShown: true,
    add: (metric, subject, by) =>
      void this.#tallies.set(`${metric} ${subject}`, (this.#tallies.get(`${metric} ${subject}`) ?? 0) + by),
    claim: async () => ({ isShown: true, began: async () => 0 }),
    taken: async () => new Float64Array(256),
    append: async () => true,
  };
  readonly #tallies = new Map<string, number>();
  /** By metric, subject and actor. */
  readonly #registers = new Map<string, Register>();
  readonly #visitors = new Map<string, Set<number>>();
  readonly #once = new Map<string, string>();
  readonly #waiting: boolean;
  #clock = Date.UTC(2026, 0, 1);

  constructor({ waiting = false } = {}) {
    this.#waiting = waiting;
  }

  add(metric: Metric, subject: string, by: number): number | Promise<number> {
    const key = `${metric.id} ${subject}`;
    const count = (this.#tallies.get(key) ?? 0) + by;
    this.#tallies.set(key, count);
    return this.#maybeLater(count);
  }

  async addOnce(
    metric: Metric,
    subject: string,
    by: number,
    once?: OnceKey,
    _atMs?: number,
    visitor?: number,
  ): Promise<number> {
    if (once && this.#isRepeat(once)) return this.#count(metric, subject);
    if (visitor !== undefined) await this.visit(metric, subject, visitor);
    return this.add(metric, subject, by);
  }

  visit(metric: Metric, subject: string, visitor: number): undefined | Promise<undefined> {
    const key = `${metric.name} ${subject}`;
    this.#visitors.set(key, (this.#visitors.get(key) ?? new Set()).add(visitor));
    return this.#waiting ? Promise.resolve(undefined) : undefined;
  }

  distinct(metric: Metric, subject: string): Distinct | Promise<Distinct> {
    const all = this.#visitors.get(`${metric.name} ${subject}`)?.size ?? 0;
    return this.#maybeLater({ today: all, all });
  }

  async relate(metric: Metric, subject: string, actor: string, active: boolean, once?: OnceKey) {
    const key = JSON.stringify([metric.name, subject, actor]);
    const known = this.#registers.get(key);
    const changed = (known?.active ?? false) !== active && !(once && this.#isRepeat(once));
    if (changed) {
      this.#clock++;
      this.#registers.set(key, { active, at: this.#clock, stamp: this.#clock });
    }
    const now = this.#registers.get(key);
    return { active: now?.active ?? false, changed, count: this.#count(metric, subject), at: now?.at ?? null };
  }

  relation(metric: Metric, subject: string, actor: string): RelationState | Promise<RelationState> {
    const known = this.#registers.get(JSON.stringify([metric.name, subject, actor]));
    const active = known?.active ?? false;
    return this.#maybeLater({ active, count: this.#count(metric, subject), at: active && known ? known.at : null });
  }

  counts(subject: string, metrics: readonly Metric[]): number[] | Promise<number[]> {
    return this.#maybeLater(metrics.map((metric) => this.#count(metric, subject)));
  }

  mine(subject: string, actor: string, metrics: readonly Metric[]): string[] | Promise<string[]> {
    const isActive = ({ name }: Metric) => this.#registers.get(JSON.stringify([name, subject, actor]))?.active;
    return this.#maybeLater(metrics.filter(isActive).map(({ name }) => name));
  }

  page({ subjects, metrics, actor, known }: PageQuery): Page | Promise<Page> {
    const relations = metrics.filter(({ kind }) => kind === "relation");
    const lists = subjects.flatMap((subject) => relations.map((metric) => ({ metric, subject })));
    const follows = known && actor !== null ? this.#active({ metric: known.relation, actor }) : [];
    const followed = new Set(follows.map(({ subject }) => subject));
    return this.#maybeLater({
      counts: subjects.flatMap((subject) => metrics.map((metric) => this.#count(metric, subject))),
      mine: actor === null ? [] : lists.map((list) => this.#active({ ...list, actor }).length > 0),
      known: lists.map((list) => {
        const rows = this.#active(list).filter((row) => followed.has(`${known?.type}/${row.actor}`));
        const names = rows.sort((a, b) => b.stamp - a.stamp).map((row) => row.actor);
        return { count: names.length, actors: names.slice(0, 3) };
      }),
    });
  }

  actors(metric: Metric, subject: string, query: ListQuery): ListPage | Promise<ListPage> {
    return this.#maybeLater(page(this.#active({ metric, subject }), "actor", query));
  }

  actorCounts(actor: string, metrics: readonly Metric[], type?: string): number[] | Promise<number[]> {
    return this.#maybeLater(metrics.map((metric) => ofType(this.#active({ metric, actor }), type).length));
  }

  subjects(metric: Metric, actor: string, query: ListQuery): ListPage | Promise<ListPage> {
    return this.#maybeLater(page(ofType(this.#active({ metric, actor }), query.type), "subject", query));
  }

  counted({ after, limit, type, metrics }: CountedQuery): CountedPage | Promise<CountedPage> {
    const keys = [...this.#tallies.keys()].map((key) => key.slice(key.indexOf(" ") + 1));
    const registers = [...this.#registers.keys()].map((key) => (JSON.parse(key) as string[])[1] as string);
    const subjects = [...new Set([...keys, ...registers])]
      .filter((subject) => metrics.some((metric) => this.#count(metric, subject) > 0))
      .filter((subject) => type === undefined || subject.startsWith(`${type}/`))
      .filter((subject) => Buffer.compare(Buffer.from(subject), Buffer.from(after)) > 0)
      .sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    const page = subjects.slice(0, limit);
    return this.#maybeLater({ subjects: page, next: subjects.length > limit ? (page.at(-1) as string) : null });
  }

  #active(wanted: { metric: Metric; subject?: string; actor?: string }) {
    return [...this.#registers]
      .map(([key, register]) => {
        const [metric, subject, actor] = JSON.parse(key) as [string, string, string];
        return { metric, subject, actor, ...register };
      })
      .filter((row) => row.active && row.metric === wanted.metric.name)
      .filter((row) => wanted.subject === undefined || row.subject === wanted.subject)
      .filter((row) => wanted.actor === undefined || row.actor === wanted.actor);
  }

  #count(metric: Metric, subject: string): number {
    if (metric.kind === "relation") return this.#active({ metric, subject }).length;
    return this.#tallies.get(`${metric.id} ${subject}`) ?? 0;
  }

  #isRepeat({ key, body }: OnceKey): boolean {
    const known = this.#once.get(key);
    if (known !== undefined && known !== body) throw new Problem("key-reused", "the key came with another body before");
    this.#once.set(key, body);
    return known !== undefined;
  }

  #maybeLater<T>(value: T): T | Promise<T> {
    return this.#waiting ? Promise.resolve(value) : value;
  }
}

type Row = { subject: string; actor: string; at: number; stamp: number };

function ofType<T extends Row>(rows: T[], type: string | undefined): T[] {
  return rows.filter((row) => type === undefined || row.subject.startsWith(`${type}/`));
}

function page(rows: Row[], id: "actor" | "subject", { limit, before = TOP }: ListQuery): ListPage {
  const items = rows.map((row) => ({ id: row[id], at: row.at, stamp: row.stamp }));
  const older = items.filter((item) => isBehind(item, before)).sort(newestFirst);
  return { items: older.slice(0, limit), more: older.length > limit };
}

/** Every addition is left to `Bulk.add`. */
function nothingAtHand(): HotAdds {
  const put: Parameters<HotAdds["put"]>[] = [];
  return {
    enter() {},
    leave() {},
    begin() {},
    isFull: false,
    put: (...addition) => void put.push(addition),
    flush(left) {
      for (const addition of put.splice(0)) left(...addition);
    },
  };
}
