import type { Settings } from "../config.ts";
import type { NodeEvents } from "../ports/node.ts";
import { log } from "../telemetry/log.ts";
import type { Reading } from "../telemetry/prometheus.ts";
import type { Webhooks } from "../webhooks/webhooks.ts";
import { ensureTopics } from "./kafka/topics.ts";
import { prepareLedger } from "./mysql/open-ledger.ts";
import { ProjectorLink } from "./projector-link.ts";
import { StoreStates } from "./store-states.ts";
import { openWebhooks, storesOf } from "./stores.ts";
import { untilThere } from "./until-there.ts";

/** The projector without a node: what `tally consume` runs. It has no data directory; all it knows is in the stores. */
export class Consumer {
  readonly #projector: ProjectorLink;
  readonly #stores: StoreStates;
  readonly #webhooks: Webhooks | null;

  private constructor(projector: ProjectorLink, stores: StoreStates, webhooks: Webhooks | null) {
    this.#projector = projector;
    this.#stores = stores;
    this.#webhooks = webhooks;
  }

  /** Waits for stores that are away. */
  static async start(settings: Settings, events: NodeEvents): Promise<Consumer> {
    const prepare = async () => {
      await prepareLedger(storesOf(settings).mysqlUrl, settings.migrate);
      return ensureTopics(settings);
    };
    const partitions = await untilThere(events.stopping, prepare, (error) => {
      log.warn("a store is away: waiting for it", { reason: error.message });
      return undefined;
    });
    const stores = new StoreStates(events.changed);
    const projector = new ProjectorLink(
      { settings, partitions },
      { store: (name, state) => stores.set("projector", name, state), died: events.broken },
    );
    return new Consumer(projector, stores, openWebhooks(settings));
  }

  parts() {
    return this.#stores.parts();
  }

  readings(): Reading[] {
    return [...this.#stores.readings(), ...this.#projector.readings(), ...(this.#webhooks?.readings() ?? [])];
  }

  async stop(): Promise<void> {
    await this.#webhooks?.stop();
    await this.#projector.stop();
  }
}
