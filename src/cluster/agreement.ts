import { type Settings, SettingsError } from "../config.ts";
import { StartError } from "../errors.ts";
import type { Metric } from "../model.ts";
import { numberMetrics } from "../ports/metric-numbers.ts";
import { log } from "../telemetry/log.ts";
import type { Agreed } from "./agreed.ts";
import type { Asking } from "./asking.ts";
import { logTopic } from "./kafka/client.ts";
import { ensureTopics, partitionsOf } from "./kafka/topics.ts";
import { decidePartitions, type RecordedLog, recordedLog, recordPartitions } from "./mysql/log-partitions.ts";
import { ensureNumbers, type Numbered, prepareLedger } from "./mysql/open-ledger.ts";
import { warnOfOtherPrefixes } from "./other-prefixes.ts";
import { readRemembered } from "./remembered.ts";
import { openRedis, storesOf } from "./stores.ts";
import { untilThere } from "./until-there.ts";

const LOG_EVERY_MS = 30_000;

/** What a node can go on with. */
export interface Reached {
  agreed: Agreed;
  /** The configured ones, numbered. */
  metrics: Metric[];
  /** Whether the ledger itself has said so, and the topic; else it is what copies say. */
  hasLedger: boolean;
  hasTopic: boolean;
}

interface Ledger extends Numbered {
  log: RecordedLog;
}

/**
 * How a node comes to know what every node must agree on (see Agreed). Who decides is asked first, and believed:
 *
 *     metrics      MySQL, or (it is away) this directory, or Redis
 *     partitions   the topic, or (Kafka is away) MySQL, this directory, Redis; or nobody has decided: MySQL records the setting
 *
 * The ledger's numbers never change, so a copy that has all configured metrics cannot be wrong about them, however old it is. A
 * topic may turn out to have another number than was believed: `confirm` finds that out, and so does the producer before it
 * sends anything (KafkaProducer).
 */
export class Agreement {
  readonly #settings: Settings;
  readonly #asking: Asking;
  readonly #topicName: string;
  /** What this directory has; from `reach` on, what was reached. */
  #own: Agreed | null;
  /** From Redis. */
  #copy: Agreed | null = null;
  #isRedisChecked = false;
  #ledger: Ledger | null = null;
  /** How many partitions the topic has, once it is there. */
  #topic: number | null = null;

  constructor(settings: Settings, asking: Asking) {
    this.#settings = settings;
    this.#asking = asking;
    this.#topicName = logTopic(settings.prefix);
    this.#own = readRemembered(settings.data);
  }

  /** Waits where nobody who can be asked knows. Throws StartError for what only a person can mend. */
  async reach(stopping: AbortSignal | undefined): Promise<Reached> {
    const reached = await untilThere(stopping, async () => {
      const found = await this.#round();
      if (found === null) {
        const limited = log.limited("agree", LOG_EVERY_MS);
        limited.warn("nobody who can be asked knows what the cluster's nodes agreed on: waiting");
      }
      return found;
    });
    const { agreed, hasLedger, hasTopic } = reached;
    if (!hasLedger || !hasTopic) {
      log.warn("a store is away: started with what copies say of the cluster", { partitions: agreed.partitions });
    }
    this.#own = agreed;
    return reached;
  }

  /**
   * After a start with copies: goes on until both stores have answered, and tells each time what is known. Rejects where they
   * say anything else than the node has started with.
   */
  async confirm(
    started: Reached,
    stopping: AbortSignal | undefined,
    confirmed: (agreed: Agreed) => void,
  ): Promise<void> {
    await untilThere(stopping, async () => {
      const found = await this.#round().catch((error) => {
        if (error instanceof StartError) throw error;
        log.limited("confirm", LOG_EVERY_MS).error("what nodes agree on cannot be compared; tried again", { error });
        return null;
      });
      if (found === null) return null;
      refuseOther(found, started);
      confirmed(found.agreed);
      return found.hasLedger && found.hasTopic ? found : null;
    });
  }

  async #round(): Promise<Reached | null> {
    const [ledger, copy] = await SettingsError.gather([this.#askLedger(), this.#askRedis()]);
    const copies = [this.#own, copy].filter((each) => each !== null);
    const numbered = ledger ?? this.#numbersOf(copies);
    const recorded = ledger?.log.partitions ?? copies[0]?.partitions ?? null;
    const { kafkaPartitions } = this.#settings;
    // While MySQL is away the number may have been decided there: no topic is made without knowing it.
    const topic = await this.#askKafka(recorded ?? (ledger && kafkaPartitions));
    const undecided = ledger !== null && !ledger.log.isUsed ? kafkaPartitions : null;
    const proposed = topic ?? recorded ?? undecided;
    if (numbered === null || proposed === null) return null;
    const partitions = ledger === null ? proposed : await this.#record(ledger.log, topic, proposed);
    if (partitions === null) return null;
    const { incarnation, stored, metrics } = numbered;
    const agreed = { incarnation, metrics: stored, partitions };
    return { agreed, metrics, hasLedger: ledger !== null, hasTopic: topic !== null };
  }

  async #askLedger(): Promise<Ledger | null> {
    if (this.#ledger !== null) return this.#ledger;
    const { mysqlUrl } = storesOf(this.#settings);
    this.#ledger = await this.#asking.ask("mysql", async () => {
      await prepareLedger(mysqlUrl, this.#settings.migrate);
      const numbered = await ensureNumbers(mysqlUrl, this.#settings.metrics);
      return { ...numbered, log: await recordedLog(mysqlUrl, this.#topicName) };
    });
    if (this.#ledger !== null) warnOfOtherPrefixes(this.#settings.prefix, this.#ledger.log);
    return this.#ledger;
  }

  /** Its copy; and a Redis that would lose what is in it is refused. */
  async #askRedis(): Promise<Agreed | null> {
    if (this.#isRedisChecked && (this.#own ?? this.#copy) !== null) return this.#copy;
    const { hot, agreed } = openRedis(this.#settings);
    try {
      await this.#asking.ask("redis", async () => {
        await hot.checkServer();
        this.#copy = await agreed.read();
      });
    } finally {
      await hot.close();
    }
    this.#isRedisChecked = true;
    return this.#copy;
  }

  /** How many partitions the topic has; made with `partitions` where it is not there and that is known. */
  async #askKafka(partitions: number | null): Promise<number | null> {
    if (this.#topic !== null) return this.#topic;
    if (partitions === null) return this.#asking.ask("kafka", () => partitionsOf(this.#settings, this.#topicName));
    const settings = { ...this.#settings, kafkaPartitions: partitions };
    this.#topic = await this.#asking.ask("kafka", () => ensureTopics(settings));
    return this.#topic;
  }

  /** Null where MySQL has gone again. */
  #record(recorded: RecordedLog, topic: number | null, proposed: number): Promise<number | null> {
    const { mysqlUrl } = storesOf(this.#settings);
    return this.#asking.ask("mysql", async () => {
      if (topic === null) return decidePartitions(mysqlUrl, this.#topicName, proposed);
      if (topic !== recorded.partitions) await recordPartitions(mysqlUrl, this.#topicName, topic);
      recorded.partitions = topic;
      return topic;
    });
  }

  /** The first copy's that has all configured metrics. */
  #numbersOf(copies: readonly Agreed[]): Numbered | null {
    for (const { incarnation, metrics: stored } of copies) {
      const { metrics, added } = numberMetrics(this.#settings.metrics, stored);
      if (added.length === 0) return { incarnation, stored, metrics };
    }
    return null;
  }
}

/** Records are of other metrics or in other partitions than this node means: only another start can tell it. */
function refuseOther({ agreed, metrics }: Reached, started: Reached): void {
  const { partitions } = started.agreed;
  if (agreed.partitions !== partitions) {
    throw new StartError(
      `the log has ${agreed.partitions} partitions, and this node was started with ${partitions} while a store was away: ` +
        "start it again, and it goes on with what its outbox holds",
    );
  }
  const other = metrics.filter(({ id }, i) => id !== started.metrics[i]?.id).map(({ name }) => name);
  if (other.length > 0) {
    throw new StartError(
      `MySQL numbers ${other.join(", ")} otherwise than it did when this node was here last: it is another ledger. ` +
        "Bring back the one before, or start this node again with a new data directory",
    );
  }
}
