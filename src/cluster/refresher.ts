import { SingleFlight } from "../lib/single-flight.ts";
import { LOOK_MS_MAX } from "../limits.ts";
import { COUNT_MAX } from "../model.ts";
import { type CountName, HotStoreAway } from "../ports/hot-store.ts";
import type { CounterTable } from "../tallies/table.ts";
import type { Freshness } from "./freshness.ts";
import type { Looks } from "./looks.ts";

const PAUSE_MS = 2;

/** Brings counters of this node's table up to what the others have flushed. */
export class Refresher {
  readonly #table: CounterTable;
  readonly #freshness: Freshness;
  readonly #looks: Looks;
  readonly #isShown: () => boolean;
  readonly #flights = new SingleFlight<string, number>();

  /** `isShown`: whether Redis is there, for all that is known. */
  constructor(parts: { table: CounterTable; freshness: Freshness; looks: Looks; isShown: () => boolean }) {
    this.#isShown = parts.isShown;
    this.#table = parts.table;
    this.#freshness = parts.freshness;
    this.#looks = parts.looks;
  }

  /** What the counter shows now; rejects where the shared count cannot be known in time. */
  refresh(shard: number, name: CountName): Promise<number> {
    return this.#flights.do(`${name.metric} ${name.subject}`, () => this.#refresh(shard, name));
  }

  async #refresh(shard: number, name: CountName): Promise<number> {
    const deadline = performance.now() + LOOK_MS_MAX;
    while (this.#isShown() && performance.now() < deadline) {
      const seq = this.#freshness.seq(shard);
      if (seq % 2 === 0) {
        const asked = this.#freshness.tick();
        const { counts } = await this.#looks.look({ shard, counts: [name], registers: [] });
        const shown = this.#take(shard, name, { count: counts[0] as number, asked, shard, seq });
        // Nodes add without asking each other; the ledger keeps no more than this.
        if (shown !== null) return Math.min(shown, COUNT_MAX);
      } else {
        await Bun.sleep(PAUSE_MS);
      }
    }
    throw new HotStoreAway("it is not known which of this node's counts Redis has");
  }

  #take(shard: number, name: CountName, reading: Parameters<Freshness["take"]>[2]): number | null {
    this.#table.enter();
    try {
      const slot = this.#table.find(name.metric, name.subject);
      if (slot < 0 || !this.#table.isLoaded(slot))
        return this.#freshness.seq(shard) === reading.seq ? reading.count : null;
      return this.#freshness.take(this.#table, slot, reading) ? this.#table.shown(slot) : null;
    } finally {
      this.#table.leave();
    }
  }
}
