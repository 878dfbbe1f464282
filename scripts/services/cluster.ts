import { type KafkaOptions, KafkaServer } from "./kafka.ts";
import { type MysqlOptions, MysqlServer } from "./mysql.ts";
import { TcpProxy } from "./proxy.ts";
import { type RedisOptions, RedisServer } from "./redis.ts";
import type { Server } from "./server.ts";

export interface ClusterOptions {
  /** How many nodes of Tally get ways of their own to the stores, which can be broken. */
  nodes?: number;
  redis?: RedisOptions;
  mysql?: MysqlOptions;
  kafka?: Omit<KafkaOptions, "proxies">;
  /** Of Kafka. The ways to several of them cannot be broken. */
  brokers?: number;
}

/** One node's ways to the stores. */
export interface Ways {
  readonly redis: TcpProxy;
  readonly mysql: TcpProxy;
  readonly kafka: TcpProxy;
  /** What `tally` needs to take these ways. */
  readonly flags: string[];
}

export interface Cluster extends AsyncDisposable {
  readonly redis: RedisServer;
  readonly mysql: MysqlServer;
  readonly kafka: KafkaServer;
  readonly brokers: readonly KafkaServer[];
  /** What `tally` needs to use them directly. */
  readonly flags: string[];
  /** As many as were asked for. */
  readonly ways: readonly Ways[];
  /** Ends all of them and removes their data. */
  stop(): Promise<void>;
}

/** The flags with which `tally` runs as a cluster. */
export function flagsFor(urls: { redis: string; mysql: string; kafka: string }): string[] {
  return ["--redis-url", urls.redis, "--kafka-brokers", urls.kafka, "--mysql-url", urls.mysql];
}

/** One of each store, started at the same time. */
export async function startCluster(options: ClusterOptions = {}): Promise<Cluster> {
  const starting = [
    RedisServer.start(options.redis),
    MysqlServer.start(options.mysql),
    KafkaServer.startMany(options.brokers ?? 1, { ...options.kafka, proxies: options.nodes ?? 0 }),
  ] as const;
  const opened: { close(): Promise<void> }[] = [];
  for (const result of await Promise.allSettled<Server | Server[]>(starting)) {
    if (result.status === "fulfilled") opened.push(...[result.value].flat());
  }
  const stop = async () => {
    await Promise.all(opened.reverse().map((one) => one.close()));
    opened.length = 0;
  };
  try {
    const [redis, mysql, brokers] = await Promise.all(starting);
    const kafka = brokers[0] as KafkaServer;
    const allBrokers = brokers.map((broker) => broker.brokers).join(",");
    const ways: Ways[] = [];
    for (const way of kafka.proxies) {
      const proxies = { redis: await TcpProxy.start(redis.port), mysql: await TcpProxy.start(mysql.port), kafka: way };
      opened.push(proxies.redis, proxies.mysql);
      const urls = {
        redis: proxies.redis.via(redis.url),
        mysql: proxies.mysql.via(mysql.url),
        kafka: brokers.length > 1 ? allBrokers : way.address,
      };
      ways.push({ ...proxies, flags: flagsFor(urls) });
    }
    const flags = flagsFor({ redis: redis.url, mysql: mysql.url, kafka: allBrokers });
    return { redis, mysql, kafka, brokers, flags, ways, stop, [Symbol.asyncDispose]: stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
