import { msOf, type Stamp, TOO_FAR_AHEAD_MS } from "../arithmetic/stamp.ts";
import { SingleFlight } from "../lib/single-flight.ts";
import type { Actor } from "../model.ts";
import type { SharedLedger } from "./ledger.ts";

/** How long a thread may not know of an erasure; whoever has erased an actor waits for so long before he is answered. */
export const FLOORS_UNKNOWN_MS = 500;

/**
 * Whether an act of now must be stamped above an erasure of its actor: where clocks are apart it could fall below it and be
 * refused as a late one. Nearly always nobody was erased within the minute that clocks may be apart, and that is known.
 */
export class FloorWatch {
  readonly #ledger: Pick<SharedLedger, "floorOf" | "highestFloor">;
  readonly #flights = new SingleFlight<"highest", void>();
  #highest: Stamp = 0;
  #askedMs = Number.NEGATIVE_INFINITY;

  constructor(ledger: Pick<SharedLedger, "floorOf" | "highestFloor">) {
    this.#ledger = ledger;
  }

  /** Rejects where the ledger is away. */
  async now(shard: number, actor: Actor): Promise<Stamp> {
    if (performance.now() - this.#askedMs >= FLOORS_UNKNOWN_MS) await this.#flights.do("highest", () => this.#ask());
    if (this.#highest === 0 || msOf(this.#highest) < Date.now() - TOO_FAR_AHEAD_MS) return 0;
    return this.#ledger.floorOf(shard, actor);
  }

  async #ask(): Promise<void> {
    const askedMs = performance.now();
    this.#highest = await this.#ledger.highestFloor();
    this.#askedMs = askedMs;
  }
}
