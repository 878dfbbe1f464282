import type { Settings } from "../config.ts";
import { LedgerUnavailable } from "../ports/ledger.ts";
import { log } from "../telemetry/log.ts";
import type { Reading } from "../telemetry/prometheus.ts";
import { KafkaAway } from "./kafka/client.ts";
import { ensureTopics } from "./kafka/topics.ts";
import { prepareLedger } from "./mysql/open-ledger.ts";
import type { NodeEvents } from "./node.ts";
import { pause } from "./pause.ts";
import { ProjectorLink } from "./projector-link.ts";
import { StoreStates } from "./store-states.ts";
import { storesOf } from "./stores.ts";

const TRY_MS_MIN = 1_000;
const TRY_MS_MAX = 5_000;

/** The projector without a node: what `tally consume` runs. It has no data directory; all it knows is in the stores. */
export class Consumer {
  readonly #projector: ProjectorLink;
  readonly #stores: StoreStates;

  private constructor(projector: ProjectorLink, stores: StoreStates) {
    this.#projector = projector;
    this.#stores = stores;
  }

  /** Waits for stores that are away. */
  static async start(settings: Settings, events: NodeEvents): Promise<Consumer> {
    const partitions = await untilThere(events.stopping, async () => {
      await prepareLedger(storesOf(settings).mysqlUrl, settings.migrate);
      return ensureTopics(settings);
    });
    const stores = new StoreStates(events.changed);
    const projector = new ProjectorLink(
      { settings, partitions },
      { store: (name, state) => stores.set("projector", name, state), died: events.broken },
    );
    return new Consumer(projector, stores);
  }

  parts() {
    return this.#stores.parts();
  }

  readings(): Reading[] {
    return [...this.#stores.readings(), ...this.#projector.readings()];
  }

  stop(): Promise<void> {
    return this.#projector.stop();
  }
}

async function untilThere<T>(stopping: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
  for (let waitMs = TRY_MS_MIN; ; waitMs = Math.min(2 * waitMs, TRY_MS_MAX)) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof LedgerUnavailable || error instanceof KafkaAway)) throw error;
      log.warn("a store is away: waiting for it", { reason: error.message });
      await pause(waitMs, stopping);
    }
  }
}
