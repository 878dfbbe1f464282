import { type Admin, type ConfigEntries, ConfigResourceTypes } from "kafkajs";
import { StartError } from "../../errors.ts";
import { formatDuration } from "../../lib/duration.ts";
import { log } from "../../telemetry/log.ts";
import { REQUEST_MS_MAX, withAdmin } from "./admin.ts";
import { deadTopic, KafkaAway, type KafkaSettings, logTopic } from "./client.ts";
import { errorType, reasonOf } from "./errors.ts";
import { BATCH_BYTES_MAX } from "./rounds.ts";

/** A cluster that starts needs some seconds until its brokers know each other and have leaders. */
const READY_MS_MAX = 30_000;
const LOOK_EVERY_MS = 200;
/** Addresses of brokers that are not there by then may be others of the same ones. */
const ALL_THERE_MS_MAX = 10_000;

/** With three brokers one can be lost without losing a record, or stopping; with two without losing what both had. */
const SAFE_REPLICAS = 3;
const SAFE_IN_SYNC = 2;

/**
 * Creates the log and its dead letters where they are not there yet; the number of the log's partitions. Any number of
 * nodes may do it at once: one creates, the others find it. What exists stays as it is, but unsafe settings are named.
 * Throws KafkaAway where Kafka is.
 */
export function ensureTopics(settings: KafkaSettings): Promise<number> {
  return withAdmin(settings, async (admin) => {
    const beganMs = performance.now();
    const wanted = new Map([
      [logTopic(settings.prefix), settings.kafkaPartitions],
      [deadTopic(settings.prefix), 1],
    ]);
    for (;;) {
      const sinceMs = performance.now() - beganMs;
      const brokers = sinceMs < ALL_THERE_MS_MAX ? settings.kafkaBrokers.length : 0;
      const problem = await ensureOnce(admin, settings, { wanted, brokers });
      if (problem === null) break;
      if (sinceMs > READY_MS_MAX) throw new KafkaAway(problem);
      await Bun.sleep(LOOK_EVERY_MS);
    }
    for (const name of wanted.keys()) await warnOfUnsafe(admin, settings, name);
    return (await leadersOf(admin, logTopic(settings.prefix)))?.length ?? 0;
  });
}

/** How many partitions a topic has; null where there is no such topic. Throws KafkaAway. */
export function partitionsOf(settings: KafkaSettings, topic: string): Promise<number | null> {
  return withAdmin(settings, async (admin) => (await leadersOf(admin, topic))?.length ?? null);
}

/** Null when all is there; else what is missing, which may come by itself. `brokers`: so many there are to be at least. */
async function ensureOnce(
  admin: Admin,
  settings: KafkaSettings,
  { wanted, brokers }: { wanted: ReadonlyMap<string, number>; brokers: number },
): Promise<string | null> {
  for (const [name, partitions] of wanted) {
    const leaders = await leadersOf(admin, name);
    if (leaders === null) {
      const problem = await create(admin, settings, name, { partitions, brokersMin: brokers });
      if (problem !== null) return problem;
      return `${name} was only just created`;
    }
    if (leaders.some((leader) => leader < 0)) return `${name} has partitions without a leader`;
  }
  return null;
}

async function create(
  admin: Admin,
  settings: KafkaSettings,
  topic: string,
  { partitions, brokersMin }: { partitions: number; brokersMin: number },
): Promise<string | null> {
  const { brokers } = await admin.describeCluster();
  // While a cluster starts not all brokers are there yet, and a topic keeps the replicas it was created with.
  const expected = Math.max(brokers.length, brokersMin);
  const replicas = Math.min(expected, SAFE_REPLICAS);
  const entries = {
    "cleanup.policy": "delete",
    "retention.ms": String(settings.logRetention),
    "min.insync.replicas": String(replicas < SAFE_REPLICAS ? 1 : SAFE_IN_SYNC),
    "unclean.leader.election.enable": "false",
    // The broker's clock: a node whose clock is wrong would have its records refused, or expired at once.
    "message.timestamp.type": "LogAppendTime",
  };
  try {
    const isCreated = await admin.createTopics({
      topics: [
        {
          topic,
          numPartitions: partitions,
          replicationFactor: replicas,
          configEntries: Object.entries(entries).map(([name, value]) => ({ name, value })),
        },
      ],
      waitForLeaders: false,
      timeout: REQUEST_MS_MAX,
    });
    if (isCreated) log.info("topic created", { part: "kafka", topic, partitions, replicas });
    return null;
  } catch (error) {
    const type = errorType(error);
    if (type === "TOPIC_ALREADY_EXISTS") return null;
    if (type === "INVALID_REPLICATION_FACTOR") return `${topic} needs ${replicas} brokers, ${brokers.length} are there`;
    if (type === "TOPIC_AUTHORIZATION_FAILED" || type === "CLUSTER_AUTHORIZATION_FAILED") {
      throw new StartError(`Kafka's topic ${topic} does not exist, and we may not create it`);
    }
    throw error;
  }
}

/** The leader of each partition (below 0: none now); null where there is no such topic. */
async function leadersOf(admin: Admin, topic: string): Promise<number[] | null> {
  try {
    const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
    return topics.find(({ name }) => name === topic)?.partitions.map(({ leader }) => leader) ?? null;
  } catch (error) {
    const type = errorType(error);
    if (type === "UNKNOWN_TOPIC_OR_PARTITION") return null;
    if (type === "LEADER_NOT_AVAILABLE") return [-1];
    throw error;
  }
}

/** What makes a record that was acknowledged, or not yet read, disappear. */
async function warnOfUnsafe(admin: Admin, settings: KafkaSettings, topic: string): Promise<void> {
  let entries: ConfigEntries[];
  try {
    const { resources } = await admin.describeConfigs({
      resources: [{ type: ConfigResourceTypes.TOPIC, name: topic }],
      includeSynonyms: false,
    });
    entries = resources[0]?.configEntries ?? [];
  } catch (error) {
    log.warn("topic settings cannot be read", { part: "kafka", topic, reason: reasonOf(error) });
    return;
  }
  const { brokers } = await admin.describeCluster();
  const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
  const replicas = Math.min(...(topics[0]?.partitions ?? []).map((partition) => partition.replicas.length));
  const values = new Map(entries.map(({ configName, configValue }) => [configName, configValue]));
  for (const problem of unsafeSettings(values, { replicas, brokers: brokers.length }, settings)) {
    log.warn(`unsafe setting of a topic: ${problem}`, { part: "kafka", topic });
  }
}

/** Each as a line that names the setting. */
export function unsafeSettings(
  values: ReadonlyMap<string, string>,
  { replicas, brokers }: { replicas: number; brokers: number },
  { logRetention }: Pick<KafkaSettings, "logRetention">,
): string[] {
  const problems: string[] = [];
  const number = (name: string) => Number(values.get(name) ?? Number.NaN);
  const policy = values.get("cleanup.policy") ?? "delete";
  if (policy !== "delete") problems.push(`cleanup.policy is ${policy}: records are lost; it must be delete`);
  if (values.get("unclean.leader.election.enable") === "true") {
    problems.push("unclean.leader.election.enable is true: acknowledged records can be lost");
  }
  const retention = number("retention.ms");
  if (retention >= 0 && retention < logRetention) {
    problems.push(`retention.ms is ${formatDuration(retention)}, below --log-retention`);
  }
  if (number("retention.bytes") >= 0) {
    problems.push(`retention.bytes is ${values.get("retention.bytes")}: records can go before --log-retention is over`);
  }
  if (number("max.message.bytes") < BATCH_BYTES_MAX) {
    problems.push(`max.message.bytes is ${values.get("max.message.bytes")}: ${BATCH_BYTES_MAX} are needed`);
  }
  if (values.get("message.timestamp.type") === "CreateTime") {
    problems.push(
      "message.timestamp.type is CreateTime: a node with a wrong clock is refused; LogAppendTime is better",
    );
  }
  const most = Math.min(brokers, SAFE_REPLICAS);
  if (replicas < most) {
    problems.push(`replication factor is ${replicas}: ${most} of ${brokers} brokers should have each record`);
  }
  if (replicas >= SAFE_REPLICAS && number("min.insync.replicas") < SAFE_IN_SYNC) {
    problems.push("min.insync.replicas is 1: an acknowledged record may be on one broker only");
  }
  return problems;
}
