import type { Settings } from "../config.ts";
import type { NodeEvents } from "../ports/node.ts";
import { log } from "../telemetry/log.ts";
import type { Reading } from "../telemetry/prometheus.ts";
import type { Webhooks } from "../webhooks/webhooks.ts";
import { Asking } from "./asking.ts";
import { isAway } from "./away.ts";
import { logTopic } from "./kafka/client.ts";
import { ensureTopics, partitionsOf } from "./kafka/topics.ts";
import { recordedLog, recordPartitions } from "./mysql/log-partitions.ts";
import { prepareLedger } from "./mysql/open-ledger.ts";
import { warnOfOtherPrefixes } from "./other-prefixes.ts";
import { ProjectorLink } from "./projector-link.ts";
import { refusedSetting } from "./refused.ts";
import { StoreStates } from "./store-states.ts";
import { openHot, openWebhooks, storesOf } from "./stores.ts";
import { untilThere } from "./until-there.ts";

const LOG_EVERY_MS = 30_000;

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
    const stores = new StoreStates(events.changed);
    const asking = new Asking(settings, stores, events);
    await checkRedis(settings);
    const partitions = await untilThere(events.stopping, () => prepare(settings, asking));
    const projector = new ProjectorLink(
      { settings: { ...settings, kafkaPartitions: partitions }, partitions },
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

/** Redis is only told of what is stored, so it may be away; one that keeps us out, or drops keys, is for a person to mend. */
async function checkRedis(settings: Settings): Promise<void> {
  const hot = openHot(settings);
  try {
    await hot.checkServer();
  } catch (error) {
    const refused = refusedSetting(error, settings);
    if (refused !== null) throw refused;
    if (!isAway(error)) throw error;
  } finally {
    await hot.close();
  }
}

/** The number of the log's partitions, once both stores that it is about are there. */
async function prepare(settings: Settings, asking: Asking): Promise<number | null> {
  const { mysqlUrl } = storesOf(settings);
  const topic = logTopic(settings.prefix);
  const recorded = await asking.ask("mysql", async () => {
    await prepareLedger(mysqlUrl, settings.migrate);
    return recordedLog(mysqlUrl, topic);
  });
  // Without MySQL nobody knows with what number the topic is to be made.
  const ensure = (kafkaPartitions: number) => ensureTopics({ ...settings, kafkaPartitions });
  const asked =
    recorded === null
      ? () => partitionsOf(settings, topic)
      : () => ensure(recorded.partitions ?? settings.kafkaPartitions);
  const partitions = await asking.ask("kafka", asked);
  if (recorded === null || partitions === null) {
    log.limited("consume", LOG_EVERY_MS).warn("a store is away: waiting for it");
    return null;
  }
  const record = () => recordPartitions(mysqlUrl, topic, partitions).then(() => true);
  const isRecorded = partitions === recorded.partitions || (await asking.ask("mysql", record));
  if (!isRecorded) return null;
  warnOfOtherPrefixes(settings.prefix, recorded);
  return partitions;
}
