import { HotStoreAway } from "../ports/hot-store.ts";
import { LedgerUnavailable } from "../ports/ledger.ts";
import type { NodeEvents } from "../ports/node.ts";
import { KafkaAway } from "./kafka/client.ts";
import type { StoreName } from "./messages.ts";
import type { StoreStates } from "./store-states.ts";

/** After so long it is told that the start waits for a store, whether or not it answers in the end. */
const SLOW_MS = 2_000;

/** The stores as a start finds them; whom it waits for is told. */
export class Asking {
  readonly #stores: StoreStates;
  readonly #events: NodeEvents;
  #isStarting = true;

  constructor(stores: StoreStates, events: NodeEvents) {
    this.#stores = stores;
    this.#events = events;
  }

  /** Null where the store is away. */
  async ask<T>(name: StoreName, work: () => Promise<T>): Promise<T | null> {
    const slow = setTimeout(() => this.#down(name, "has not answered yet"), SLOW_MS);
    try {
      const answer = await work();
      this.#up(name);
      return answer;
    } catch (error) {
      if (!(error instanceof HotStoreAway || error instanceof LedgerUnavailable || error instanceof KafkaAway))
        throw error;
      this.#down(name, error instanceof KafkaAway ? error.reason : error.message);
      return null;
    } finally {
      clearTimeout(slow);
    }
  }

  /** Others say from here on how the stores are. */
  started(): void {
    this.#isStarting = false;
  }

  #up(name: StoreName): void {
    if (this.#isStarting) this.#stores.set("start", name, { isUp: true, detail: "" });
  }

  #down(name: StoreName, detail: string): void {
    if (!this.#isStarting) return;
    this.#stores.set("start", name, { isUp: false, detail });
    this.#events.waits?.(this.#stores.parts());
  }
}
