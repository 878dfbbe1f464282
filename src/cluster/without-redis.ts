import { newestFirst, type Place } from "../arithmetic/place.ts";
import { countDelta } from "../arithmetic/register.ts";
import { shardOf } from "../arithmetic/shard-of.ts";
import type { Stamp } from "../arithmetic/stamp.ts";
import { type Actor, COUNT_MAX, type Subject } from "../model.ts";
import type { CountName, RegisterName } from "../ports/hot-store.ts";
import type { CounterTable } from "../tallies/table.ts";
import { fromLedger } from "./away.ts";
import type { Freshness } from "./freshness.ts";
import type { SharedLedger } from "./ledger.ts";
import type { LogClient } from "./log-client.ts";
import type { OwnAct, OwnQuestion } from "./own-acts.ts";

/** The two readings of the ledger are of one version as a rule: it has four or so in a second. */
const ROUNDS = 5;

/**
 * What a node shows while Redis is away: the ledger, with this node's own acts that are on their way there laid over. What the
 * other nodes have on theirs it cannot know.
 *
 * Own acts first, the ledger second: what moves from one to the other in between is seen in both. Of a register the higher
 * stamp holds, so that does no harm; what adds to a count is compared with what that very version of the ledger has decided.
 * An actor whom another node has erased may be shown until the ledger has refused what is on its way of him.
 */
export class WithoutRedis {
  readonly #ledger: SharedLedger;
  readonly #log: LogClient;
  readonly #table: CounterTable;
  readonly #freshness: Freshness;

  constructor(parts: { ledger: SharedLedger; log: LogClient; table: CounterTable; freshness: Freshness }) {
    this.#ledger = parts.ledger;
    this.#log = parts.log;
    this.#table = parts.table;
    this.#freshness = parts.freshness;
  }

  /** Counts of one subject; of tallies at least what this node has shown or has added. Rejects with `unavailable` where MySQL is away, too. */
  async counts(subject: Subject, metrics: readonly number[]): Promise<number[]> {
    if (metrics.length === 0) return [];
    const own = (await Promise.all(metrics.map((metric) => this.#log.own({ metric, subject })))).flat();
    const counts = await fromLedger(() => this.#countsWith(subject, metrics, own));
    return metrics.map((metric, i) => Math.min(Math.max(counts[i] as number, this.#shown(metric, subject)), COUNT_MAX));
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
    const newest = new Map<string, Stamp>();
    for (const act of await this.#log.own(question)) {
      const id = idOf(act);
      if (type !== undefined && !id.startsWith(`${type}/`)) continue;
      newest.set(id, Math.max(act.stamp, newest.get(id) ?? 0));
    }
    return Array.from(newest, ([id, stamp]) => ({ id, stamp })).sort(newestFirst);
  }

  /** The ledger's counts, and what of the acts it has not counted at that version. */
  async #countsWith(subject: Subject, metrics: readonly number[], own: readonly OwnAct[]): Promise<number[]> {
    const shard = shardOf(subject);
    const names = metrics.map((metric) => ({ shard, metric, subject }));
    const registers = own.filter(({ actor }) => actor !== "");
    const tallies = own.filter(({ actor }) => actor === "");
    const keys = tallies.map(({ key }) => key).filter((key) => key !== null);
    const sources = [...new Set(own.map(({ source }) => source))];
    for (let round = 0; ; round++) {
      const bases = await this.#ledger.bases(names);
      for (const { version } of bases) this.#freshness.shownAt(shard, version);
      const counts = new Map(metrics.map((metric, i) => [metric, bases[i]?.count ?? 0]));
      // Without a moment of rest between two commits the ledger's counts must do.
      if (own.length === 0 || round === ROUNDS) return [...counts.values()];
      const { version, stamps, stored } = await this.#ledger.versionOf(shard, registers, keys, sources);
      if (version.version !== bases[0]?.version) continue;
      const last = new Map(version.last);
      const isDecided = ({ source, n }: OwnAct) => n <= (last.get(source) ?? 0);
      const known = new Map<string, Stamp>(registers.map((name, i) => [nameOf(name), stamps[i] as Stamp]));
      const taken = new Set(keys.filter((_, i) => stored[i]));
      const add = (metric: number, by: number) => counts.set(metric, (counts.get(metric) ?? 0) + by);
      for (const act of own.filter((act) => !isDecided(act))) {
        if (act.actor !== "") {
          const before = known.get(nameOf(act)) as Stamp;
          add(act.metric, countDelta(before, act.stamp));
          known.set(nameOf(act), Math.max(before, act.stamp));
        } else if (act.key === null || !taken.has(act.key)) {
          add(act.metric, act.amount);
          if (act.key !== null) taken.add(act.key);
        }
      }
      return metrics.map((metric) => counts.get(metric) ?? 0);
    }
  }

  #shown(metric: number, subject: Subject): number {
    this.#table.enter();
    try {
      const slot = this.#table.find(metric, subject);
      const isSound = slot >= 0 && this.#table.isLoaded(slot) && this.#freshness.isSound(slot);
      return isSound ? this.#table.shown(slot) : 0;
    } finally {
      this.#table.leave();
    }
  }
}

function nameOf({ metric, actor }: { metric: number; actor: Actor }): string {
  return `${metric} ${actor}`;
}
