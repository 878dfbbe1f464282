import { Kafka, logLevel } from "kafkajs";
// Mended here too, or each client looks every millisecond and warns of it on stderr.
import "../../src/cluster/kafka/idle.ts";
import { type Cluster, flagsFor, startCluster } from "./cluster.ts";
import { createDatabase, dropDatabase } from "./mysql.ts";

/** Where `npm test` says which servers it has started. */
export const SHARED = {
  redis: "TALLY_TEST_REDIS_URL",
  kafka: "TALLY_TEST_KAFKA_BROKERS",
  mysql: "TALLY_TEST_MYSQL_URL",
} as const;

export interface SharedServices extends AsyncDisposable {
  readonly redis: { readonly url: string };
  readonly kafka: { readonly brokers: string };
  /** Of an empty database that nobody else uses. */
  readonly mysql: { readonly url: string; createDatabase(): Promise<string> };
  /** Of keys and topics, used by nobody else. */
  readonly prefix: string;
  /** What `tally` needs to use them, the prefix among it. */
  readonly flags: string[];
  stop(): Promise<void>;
}

/** What a set of servers is called in the environment of a test. */
export function sharedEnvironment({ redis, kafka, mysql }: Cluster): Record<string, string> {
  return { [SHARED.redis]: redis.url, [SHARED.kafka]: kafka.brokers, [SHARED.mysql]: mysql.url };
}

/**
 * The servers that the environment names, else new ones; with a prefix and a database that are the caller's alone.
 * Others may use the same servers: whoever stops, empties or fills them starts a cluster of his own.
 */
export async function sharedServices(): Promise<SharedServices> {
  const named = Object.values(SHARED).map((name) => process.env[name]);
  const [redis, kafka, mysql] = named;
  const own = redis && kafka && mysql ? null : await startCluster({ mysql: { durable: false } });
  const urls = own
    ? { redis: own.redis.url, kafka: own.kafka.brokers, mysql: own.mysql.url }
    : { redis: redis ?? "", kafka: kafka ?? "", mysql: mysql ?? "" };
  const prefix = `t${crypto.randomUUID().replaceAll("-", "").slice(0, 10)}`;
  const databases: string[] = [];
  const newDatabase = async () => {
    const url = await createDatabase(urls.mysql);
    databases.push(url);
    return url;
  };
  const mysqlUrl = await newDatabase();
  const stop = async () => {
    if (own) await own.stop();
    else await Promise.all([...databases.map(dropDatabase), deleteTopics(urls.kafka, prefix)]);
  };
  return {
    redis: { url: urls.redis },
    kafka: { brokers: urls.kafka },
    mysql: { url: mysqlUrl, createDatabase: newDatabase },
    prefix,
    flags: [...flagsFor({ ...urls, mysql: mysqlUrl }), "--prefix", prefix],
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

/** kafkajs gives up after 5 s, and the tests that were over would have failed. */
const DELETE_MS_MAX = 25_000;

/** Every partition costs the broker open files. */
async function deleteTopics(brokers: string, prefix: string): Promise<void> {
  const admin = new Kafka({ brokers: brokers.split(","), logLevel: logLevel.NOTHING }).admin();
  await admin.connect();
  try {
    const topics = (await admin.listTopics()).filter((topic) => topic.startsWith(`${prefix}.`));
    if (topics.length > 0) await admin.deleteTopics({ topics, timeout: DELETE_MS_MAX });
  } finally {
    await admin.disconnect();
  }
}
