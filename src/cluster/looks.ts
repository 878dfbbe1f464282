import type { Stamp } from "../arithmetic/stamp.ts";
import { Batcher } from "../lib/batcher.ts";
import { SingleFlight } from "../lib/single-flight.ts";
import { LAG_MS_MAX, LOOKS_AT_ONCE } from "../limits.ts";
import {
  type CountName,
  type HotStore,
  HotStoreAway,
  type PastPlace,
  type RegisterName,
  type ShardRead,
} from "../ports/hot-store.ts";
import type { Freshness } from "./freshness.ts";
import type { SharedLedger } from "./ledger.ts";
import type { LoadLocks } from "./load-locks.ts";
import type { Shards } from "./shards.ts";

/** What is asked of one shard; all of it is answered from one moment. */
export interface Look {
  shard: number;
  counts: readonly CountName[];
  registers: readonly RegisterName[];
}

/** A shard's answer with no base missing. */
export interface Looked {
  /** Whether the overlay has everything that was acknowledged (settled, see arithmetic/shard.ts). */
  isSettled: boolean;
  /** As of the moment it was read: see ShardToken. */
  token: string;
  /** Up to where the counts have what is no news. */
  place: PastPlace;
  counts: number[];
  /** 0: it never was. Null: not on its way, so the ledger knows. */
  registers: (Stamp | null)[];
}

type Base = Awaited<ReturnType<SharedLedger["bases"]>>[number];

const PAUSE_MS = 5;
const bounds = { itemsMax: LOOKS_AT_ONCE, flightsMax: 4 };

/**
 * One thread's looks at the shared stores. What is asked within one turn of the event loop travels together; of all who
 * miss the same count one asks the ledger for it, and what it has (0 too) is put into the hot store for everyone.
 */
export class Looks {
  readonly #hot: HotStore;
  readonly #ledger: SharedLedger;
  readonly #shards: Shards;
  readonly #reads: Batcher<Look, ShardRead | "none" | "foreign">;
  readonly #hints: Batcher<RegisterName & { shard: number }, { stamp: Stamp; version: number }>;
  readonly #bases: Batcher<CountName & { shard: number }, undefined>;
  readonly #locks: LoadLocks;
  readonly #freshness: Freshness;
  readonly #loads = new SingleFlight<string, void>();

  constructor(parts: { hot: HotStore; ledger: SharedLedger; shards: Shards; locks: LoadLocks; freshness: Freshness }) {
    this.#freshness = parts.freshness;
    this.#locks = parts.locks;
    this.#hot = parts.hot;
    this.#ledger = parts.ledger;
    this.#shards = parts.shards;
    this.#reads = new Batcher((looks) => this.#hot.read(looks), bounds);
    this.#hints = new Batcher((names) => this.#ledger.hints(names), bounds);
    this.#bases = new Batcher((names) => this.#install(names), bounds);
  }

  /**
   * Rejects with HotStoreAway or LedgerUnavailable where it cannot be known in time: a second where a store does not answer,
   * at once where that is known, and only after LAG_MS_MAX where all answer and the shard does not come to rest.
   */
  async look(look: Look): Promise<Looked> {
    const deadline = performance.now() + LAG_MS_MAX;
    for (let round = 0; ; round++) {
      const before = look.counts.map((name) => this.#locks.before(nameOf(name)));
      const read = await this.#reads.submit(look);
      const shown = this.#freshness.versionOf(look.shard);
      if (read === "none" || read === "foreign") await this.#shards.repair(look.shard);
      else if (read.head.version < shown) {
        await this.#shards.repair(look.shard);
        if (round > 0) await this.#askVersion(look.shard, shown);
      } else {
        const { position, end } = read.head;
        const isSettled = position >= end;
        const missing = [...look.counts.keys()].filter((i) => read.counts[i] === null);
        if (missing.length === 0) {
          const place = { shard: look.shard, epoch: read.head.epoch, number: read.pasts };
          return { isSettled, token: read.token, place, counts: read.counts as number[], registers: read.registers };
        }
        await Promise.all(missing.map((i) => this.#load(look.shard, look.counts[i] as CountName, before[i] as number)));
      }
      if (performance.now() > deadline) throw new HotStoreAway(`shard ${look.shard} does not come to rest`);
      if (round > 2) await Bun.sleep(PAUSE_MS);
    }
  }

  async #askVersion(shard: number, shown: number): Promise<void> {
    const { version } = await this.#ledger.versionOf(shard, [], []);
    this.#freshness.lower(shard, shown, version.version);
  }

  /** A register in the ledger, and the version it was read at. */
  hint(shard: number, name: RegisterName): Promise<{ stamp: Stamp; version: number }> {
    const { metric, subject, actor } = name;
    return this.#hints.submit({ shard, metric, subject, actor });
  }

  #load(shard: number, { metric, subject }: CountName, before: number): Promise<void> {
    const name = nameOf({ metric, subject });
    const load = () => this.#bases.submit({ shard, metric, subject });
    return this.#loads.do(name, () => this.#locks.hold(name, before, load));
  }

  /** Reads counts from the ledger and installs them; a shard at another version is brought to the ledger's first. */
  async #install(names: (CountName & { shard: number })[]): Promise<undefined[]> {
    const bases = await this.#ledger.bases(names);
    // Many names take several statements, and a commit may come between: what is of one version goes together.
    const read = names.map(({ shard, metric, subject }, i) => ({ shard, metric, subject, ...(bases[i] as Base) }));
    const parts = Map.groupBy(read, ({ shard, incarnation, version }) => `${shard} ${incarnation} ${version}`);
    await Promise.all(
      Array.from(parts.values(), async (part) => {
        const { shard, incarnation, version } = part[0] as (typeof read)[number];
        const counts = part.map(({ metric, subject, count }): [number, string, number] => [metric, subject, count]);
        const status = await this.#hot.install(shard, { incarnation, version }, counts);
        if (status !== "ok") await this.#shards.repair(shard);
      }),
    );
    return names.map(() => undefined);
  }
}

function nameOf({ metric, subject }: CountName): string {
  return `${metric} ${subject}`;
}
