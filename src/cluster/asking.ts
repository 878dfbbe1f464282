import type { Settings } from "../config.ts";
import type { NodeEvents } from "../ports/node.ts";
import { isAway } from "./away.ts";
import { KafkaAway } from "./kafka/client.ts";
import type { StoreName } from "./messages.ts";
import { refusedSetting } from "./refused.ts";
import type { StoreStates } from "./store-states.ts";

/** After so long it is told that the start waits for a store, whether or not it answers in the end. */
const SLOW_MS = 2_000;

/** The stores as a start finds them; whom it waits for is told. */
export class Asking {
  readonly #settings: Settings;
  readonly #stores: StoreStates;
  readonly #events: NodeEvents;
  #isStarting = true;

  constructor(settings: Settings, stores: StoreStates, events: NodeEvents) {
    this.#settings = settings;
    this.#stores = stores;
    this.#events = events;
  }

  /** Null where the store is away. Throws SettingsError where it refuses a start. */
  async ask<T>(name: StoreName, work: () => Promise<T>): Promise<T | null> {
    const slow = setTimeout(() => this.#down(name, "has not answered yet"), SLOW_MS);
    try {
      const answer = await work();
      this.#up(name);
      return answer;
    } catch (error) {
      const refused = this.#isStarting ? refusedSetting(error, this.#settings) : null;
      if (refused !== null) throw refused;
      if (!isAway(error) && !(error instanceof KafkaAway)) throw error;
      this.#down(name, error instanceof KafkaAway ? error.reason : (error as Error).message);
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
