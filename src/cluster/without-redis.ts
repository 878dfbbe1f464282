import { newestFirst, type Place } from "../arithmetic/place.ts";
import { countDelta, merge } from "../arithmetic/register.ts";
import { shardOf } from "../arithmetic/shard-of.ts";
import type { Stamp } from "../arithmetic/stamp.ts";
import { Batcher } from "../lib/batcher.ts";
import { LOOKS_AT_ONCE, OWN_ACTS_LISTED } from "../limits.ts";
import { type Actor, COUNT_MAX } from "../model.ts";
import type { CountName, RegisterName } from "../ports/hot-store.ts";
import type { CounterTable } from "../tallies/table.ts";
import { fromLedger } from "./away.ts";
import type { Freshness } from "./freshness.ts";
import type { LedgerMoment, SharedLedger } from "./ledger.ts";
import type { LogClient } from "./log-client.ts";
import type { OwnAct, OwnQuestion } from "./own-acts.ts";

/** A count of the ledger, and what acts on the way there will add to a tally. */
interface Stored {
  count: number;
  added: number;
}

/**
 * What a node shows while Redis is away: the ledger, with this node's own acts that are on their way there laid over. What the
 * other nodes have on theirs it cannot know.
 *
 * Own acts first, the ledger second: what moves from one to the other in between is seen in both. Of a register the higher
 * stamp holds, so that does no harm; what adds to a count is compared with what that very moment of the ledger has decided.
 * What is asked for while two answers are under way is asked for together: a subject on everyone's lips costs no more than
 * another one, and a page of a thousand one transaction or two.
 */
export class WithoutRedis {
  readonly #ledger: SharedLedger;
  readonly #log: LogClient;
  readonly #table: CounterTable;
  readonly #freshness: Freshness;
  readonly #counts: Batcher<CountName, number>;

  constructor(parts: { ledger: SharedLedger; log: LogClient; table: CounterTable; freshness: Freshness }) {
    this.#ledger = parts.ledger;
    this.#log = parts.log;
    this.#table = parts.table;
    this.#freshness = parts.freshness;
    this.#counts = new Batcher((names) => this.#countAll(names), { itemsMax: LOOKS_AT_ONCE, flightsMax: 2 });
  }

  /** What a count shows; of a tally at least what this node has shown or has added. `unavailable` where MySQL is away, too. */
  count(name: CountName): Promise<number> {
    return fromLedger(() => this.#counts.submit(name));
  }

  /** Every register's newest stamp, 0 where it never was. */
  async registers(names: readonly RegisterName[]): Promise<Stamp[]> {
    const own = await Promise.all(names.map((name) => this.#log.own(name)));
    const asked = names.map((name) => ({ shard: shardOf(name.subject), ...name }));
    const stored = await fromLedger(() => this.#ledger.hints(asked));
    return stored.map(({ stamp }, i) => Math.max(stamp, own[i]?.[0]?.stamp ?? 0));
  }

  /** A list's actors whose registers are on their way, newest first. */
  actors({ metric, subject }: CountName): Promise<Place[]> {
    return this.#places({ metric, subject }, ({ actor }) => actor);
  }

  /** The same of an actor's subjects. */
  subjects(actor: Actor, metric: number, type?: string): Promise<Place[]> {
    return this.#places({ metric, actor }, ({ subject }) => subject, type);
  }

  /** Counts that something is on its way to. */
  onTheWay(): Promise<CountName[]> {
    return this.#log.ownCounts();
  }

  async #places(question: OwnQuestion, idOf: (act: OwnAct) => string, type?: string): Promise<Place[]> {
    const own = (await this.#log.own(question)).filter((act) => type === undefined || idOf(act).startsWith(`${type}/`));
    if (own.length === 0) return [];
    // The ledger may have newer ones: they are inactive, or the list would have them itself.
    const stored = await fromLedger(() => this.#ledger.hints(own));
    return own.map((act, i) => ({ id: idOf(act), stamp: merge(stored[i]?.stamp ?? 0, act.stamp) })).sort(newestFirst);
  }

  async #countAll(asked: readonly CountName[]): Promise<number[]> {
    const names = [...new Map(asked.map((name) => [nameOf(name), name])).values()];
    const found = await Promise.all(names.map((name) => this.#log.own(name)));
    const own = found.filter(({ length }) => length < OWN_ACTS_LISTED).flat();
    const counts = own.length === 0 ? await this.#stored(names) : await this.#storedWith(names, own);
    return asked.map((name) => Math.min(this.#withTable(name, counts.get(nameOf(name)) as Stored), COUNT_MAX));
  }

  async #stored(names: readonly CountName[]): Promise<Map<string, Stored>> {
    return this.#take(names, await this.#ledger.bases(names.map(inShard)));
  }

  /** The ledger's counts, and what of the acts it has not counted at that moment. */
  async #storedWith(names: readonly CountName[], own: readonly OwnAct[]): Promise<Map<string, Stored>> {
    const registers = own.filter(({ actor }) => actor !== "");
    const tallies = own.filter(({ actor }) => actor === "");
    const keys = tallies.map(({ key }) => key).filter((key) => key !== null);
    const sources = [...new Set(own.map(({ source }) => source))];
    const moment = await this.#ledger.moment({ counts: names.map(inShard), registers, keys, sources });
    const counts = this.#take(names, moment.bases);
    const last = new Map(moment.last.map(({ source, shard, last }) => [`${source} ${shard}`, last]));
    // What is decided may have been merged or erased since.
    const isDecided = ({ source, shard, n }: OwnAct) => n <= (last.get(`${source} ${shard}`) ?? 0);
    for (const [i, act] of registers.entries()) {
      if (isDecided(act)) continue;
      (counts.get(nameOf(act)) as Stored).count += countDelta(moment.stamps[i] as Stamp, act.stamp);
    }
    const taken = new Set(keys.filter((_, i) => moment.stored[i]));
    for (const act of tallies) {
      if (isDecided(act) || (act.key !== null && taken.has(act.key))) continue;
      if (act.key !== null) taken.add(act.key);
      (counts.get(nameOf(act)) as Stored).added += act.amount;
    }
    return counts;
  }

  #take(names: readonly CountName[], bases: LedgerMoment["bases"]): Map<string, Stored> {
    const counts = new Map<string, Stored>();
    for (const [i, name] of names.entries()) {
      const { count, version } = bases[i] as LedgerMoment["bases"][number];
      this.#freshness.shownAt(shardOf(name.subject), version);
      counts.set(nameOf(name), { count, added: 0 });
    }
    return counts;
  }

  /** The slot's count is that of the others too, as far as it is known, or else what was added to it, which no key named. */
  #withTable({ metric, subject }: CountName, { count, added }: Stored): number {
    this.#table.enter();
    try {
      const slot = this.#table.find(metric, subject);
      if (slot < 0 || !this.#table.isLoaded(slot) || !this.#freshness.isSound(slot)) return count + added;
      const shown = this.#table.shown(slot);
      return this.#freshness.isKnown(slot) ? Math.max(count + added, shown) : Math.max(count, shown) + added;
    } finally {
      this.#table.leave();
    }
  }
}

function inShard(name: CountName): CountName & { shard: number } {
  return { ...name, shard: shardOf(name.subject) };
}

function nameOf({ metric, subject }: CountName): string {
  return `${metric} ${subject}`;
}
