import { SingleFlight } from "../lib/single-flight.ts";
import { LOOK_MS_MAX } from "../limits.ts";
import { COUNT_MAX } from "../model.ts";
import { type CountName, HotStoreAway, type PastPlace } from "../ports/hot-store.ts";
import type { CounterTable } from "../tallies/table.ts";
import type { Freshness } from "./freshness.ts";
import type { Looks } from "./looks.ts";

const PAUSE_MS = 2;

type Reading = Parameters<Freshness["take"]>[2];

export interface PlacedCount {
  count: number;
  /** Null: not known. */
  place: PastPlace | null;
}

/** Brings counters of this node's table up to what the others have flushed. */
export class Refresher {
  readonly #table: CounterTable;
  readonly #freshness: Freshness;
  readonly #looks: Looks;
  readonly #isShown: () => boolean;
  readonly #flights = new SingleFlight<string, number>();
  readonly #placed = new SingleFlight<string, PlacedCount>();

  /** `isShown`: whether Redis is there, for all that is known. */
  constructor(parts: { table: CounterTable; freshness: Freshness; looks: Looks; isShown: () => boolean }) {
    this.#isShown = parts.isShown;
    this.#table = parts.table;
    this.#freshness = parts.freshness;
    this.#looks = parts.looks;
  }

  /** What the counter shows now; rejects where the shared count cannot be known in time. */
  refresh(shard: number, name: CountName): Promise<number> {
    return this.#flights.do(`${name.metric} ${name.subject}`, async () => {
      const take = (reading: Reading) => this.#take(name, reading);
      return (await this.#read(shard, name, take)).count;
    });
  }

  /** The same by a reading of its own, whatever the counter has taken in meanwhile, and where that was. */
  read(shard: number, name: CountName): Promise<PlacedCount> {
    const show = (reading: Reading) => shownBy(this.#table, this.#freshness, name, reading);
    return this.#placed.do(`${name.metric} ${name.subject}`, () => this.#read(shard, name, show));
  }

  async #read(shard: number, name: CountName, show: (reading: Reading) => number | null): Promise<PlacedCount> {
    const deadline = performance.now() + LOOK_MS_MAX;
    while (this.#isShown() && performance.now() < deadline) {
      const seq = this.#freshness.seq(shard);
      if (seq % 2 === 0) {
        const asked = this.#freshness.tick();
        const { counts, place } = await this.#looks.look({ shard, counts: [name], registers: [] });
        const shown = show({ count: counts[0] as number, asked, shard, seq });
        // Nodes add without asking each other; the ledger keeps no more than this.
        if (shown !== null) return { count: Math.min(shown, COUNT_MAX), place };
      } else {
        await Bun.sleep(PAUSE_MS);
      }
    }
    throw new HotStoreAway("it is not known which of this node's counts Redis has");
  }

  #take(name: CountName, reading: Reading): number | null {
    this.#table.enter();
    try {
      const slot = this.#table.find(name.metric, name.subject);
      if (slot < 0 || !this.#table.isLoaded(slot))
        return this.#freshness.seq(reading.shard) === reading.seq ? reading.count : null;
      return this.#freshness.take(this.#table, slot, reading) ? this.#table.shown(slot) : null;
    } finally {
      this.#table.leave();
    }
  }
}

/**
 * What a count shows by this reading alone, with what this node has added since; null where it may not be believed. The counter
 * takes it in, so that nobody here is shown less than this later on.
 */
export function shownBy(
  table: CounterTable,
  freshness: Freshness,
  { metric, subject }: CountName,
  reading: Reading,
): number | null {
  if (reading.seq % 2 !== 0) return null;
  table.enter();
  try {
    const slot = table.find(metric, subject);
    if (slot < 0 || !table.isLoaded(slot)) return freshness.seq(reading.shard) === reading.seq ? reading.count : null;
    const shown = freshness.shownBy(table, slot, reading);
    if (shown !== null) freshness.take(table, slot, reading);
    return shown;
  } finally {
    table.leave();
  }
}
