import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { Kafka, logLevel } from "kafkajs";
// Mended here too, or each client looks every millisecond and warns of it on stderr.
import "../../src/cluster/kafka/idle.ts";
import { command, kafkaPrograms } from "./install.ts";
import { freePort, HOST } from "./ports.ts";
import { TcpProxy } from "./proxy.ts";
import { Server } from "./server.ts";
import { copyTemplate } from "./template.ts";
import type { Authority } from "./tls.ts";

/** Any: it is a cluster of one. */
const CLUSTER_ID = "dGFsbHktdGVzdC1jbHVzdA";

/** Whom the listener with TLS lets in, by SASL. */
export const KAFKA_USER = { name: "tally", password: "geheim" };
const SCRAM = ["SCRAM-SHA-256", "SCRAM-SHA-512"];

export interface KafkaOptions {
  /**
   * How many proxies there are to be. A broker tells its clients where they find it, so that each proxy needs a
   * listener that tells them the proxy's port; these are made with the server.
   */
  proxies?: number;
  /** Beside the open listener one with TLS, for who says that he is KAFKA_USER. */
  authority?: Authority;
  /** Further lines of server.properties. */
  properties?: Record<string, string | number>;
  /** Further flags of Java. */
  java?: string[];
}

interface KafkaPorts {
  broker: number;
  controller: number;
  secure: number;
}

/** Which of the brokers it is, from 0, and where all of them have their controllers. */
interface KafkaPlace {
  index: number;
  controllers: readonly number[];
}

/** A Kafka in KRaft mode, or one broker of several, each its own controller. Topics are not made by themselves. */
export class KafkaServer extends Server {
  readonly #options: KafkaOptions;
  readonly #place: KafkaPlace;
  readonly #secure: number;
  /** Each with the listener that it leads to. */
  readonly proxies: readonly TcpProxy[];

  private constructor(ports: KafkaPorts, place: KafkaPlace, proxies: TcpProxy[], options: KafkaOptions) {
    super("kafka", ports.broker);
    this.#place = place;
    this.#secure = ports.secure;
    this.proxies = proxies;
    this.#options = options;
  }

  static async start(options: KafkaOptions = {}): Promise<KafkaServer> {
    const [server] = await KafkaServer.startMany(1, options);
    return server as KafkaServer;
  }

  /** Brokers of one Kafka, each of them a controller, too: of three one may be lost. The proxies lead to the first. */
  static async startMany(brokers: number, options: KafkaOptions = {}): Promise<KafkaServer[]> {
    const proxies: TcpProxy[] = [];
    for (let i = 0; i < (options.proxies ?? 0); i++) proxies.push(await TcpProxy.start(await freePort()));
    const ports: KafkaPorts[] = [];
    for (let i = 0; i < brokers; i++) {
      ports.push({ broker: await freePort(), controller: await freePort(), secure: await freePort() });
    }
    const controllers = ports.map(({ controller }) => controller);
    const servers = ports.map((each, index) => {
      return new KafkaServer(each, { index, controllers }, index === 0 ? proxies : [], options);
    });
    // Together: one alone is no majority, and answers nothing.
    await Promise.all(servers.map((server) => server.start()));
    return servers;
  }

  /** As `--kafka-brokers` takes it. */
  get brokers(): string {
    return `${HOST}:${this.port}`;
  }

  /** The same with TLS and SASL. */
  get secureBrokers(): string {
    return `${HOST}:${this.#secure}`;
  }

  override async close(): Promise<void> {
    await Promise.all(this.proxies.map((proxy) => proxy.close()));
    await super.close();
  }

  protected override async command(): Promise<string[]> {
    writeFileSync(join(this.folder, "server.properties"), lines(this.#properties()));
    return [...(await this.#java()), "kafka.Kafka", join(this.folder, "server.properties")];
  }

  async #java(): Promise<string[]> {
    const { java, classPath } = await kafkaPrograms();
    writeFileSync(join(this.folder, "log4j2.properties"), lines(LOGGING));
    return [
      java,
      "-Xms128m",
      "-Xmx512m",
      "-XX:+UseSerialGC",
      "-XX:TieredStopAtLevel=1",
      "-Xshare:auto",
      `-Dlog4j2.configurationFile=${join(this.folder, "log4j2.properties")}`,
      ...(this.#options.java ?? []),
      "-cp",
      classPath,
    ];
  }

  #properties(): Record<string, string | number> {
    const { authority } = this.#options;
    const { index, controllers } = this.#place;
    const [replicas, inSync] = controllers.length < 3 ? [1, 1] : [3, 2];
    const listeners = [
      { name: "DIRECT", port: this.port, advertised: this.port },
      ...(authority ? [{ name: SECURE, port: this.#secure, advertised: this.#secure }] : []),
      ...this.proxies.map((proxy, i) => ({ name: `PROXY${i}`, port: proxy.target, advertised: proxy.port })),
    ];
    return {
      "process.roles": "broker,controller",
      "node.id": index + 1,
      "controller.quorum.voters": controllers.map((port, i) => `${i + 1}@${HOST}:${port}`).join(","),
      "controller.listener.names": "CONTROLLER",
      "inter.broker.listener.name": "DIRECT",
      listeners: [
        ...listeners.map(({ name, port }) => `${name}://${HOST}:${port}`),
        `CONTROLLER://${HOST}:${controllers[index]}`,
      ].join(","),
      "advertised.listeners": listeners.map(({ name, advertised }) => `${name}://${HOST}:${advertised}`).join(","),
      "listener.security.protocol.map": ["CONTROLLER", ...listeners.map(({ name }) => name)]
        .map((name) => `${name}:${name === SECURE ? "SASL_SSL" : "PLAINTEXT"}`)
        .join(","),
      "log.dirs": this.data,
      "auto.create.topics.enable": "false",
      "offsets.topic.num.partitions": 1,
      "offsets.topic.replication.factor": replicas,
      "transaction.state.log.num.partitions": 1,
      "transaction.state.log.replication.factor": replicas,
      "transaction.state.log.min.isr": inSync,
      "share.coordinator.state.topic.num.partitions": 1,
      "share.coordinator.state.topic.replication.factor": replicas,
      "share.coordinator.state.topic.min.isr": inSync,
      "group.initial.rebalance.delay.ms": 0,
      "group.min.session.timeout.ms": 500,
      "num.network.threads": 2,
      "num.io.threads": 4,
      // One that was killed may come back once its former self counts as gone: with the default, after 9 s.
      "broker.session.timeout.ms": 2_000,
      "broker.heartbeat.interval.ms": 250,
      ...(authority && securityOf(authority)),
      ...this.#options.properties,
    };
  }

  protected override async fill(data: string): Promise<void> {
    const { version } = await kafkaPrograms();
    const { index, controllers } = this.#place;
    const name = `kafka-${version}-formatted-with-users-${index + 1}-of-${controllers.length}`;
    await copyTemplate(name, data, async (folder) => {
      const path = join(this.folder, "format.properties");
      writeFileSync(path, lines({ ...this.#properties(), "log.dirs": folder }));
      const { name, password } = KAFKA_USER;
      const users = SCRAM.flatMap((kind) => ["--add-scram", `${kind}=[name=${name},password=${password}]`]);
      const format = ["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", path];
      await command([...(await this.#java()), ...format, ...users], { wanted: "Kafka cannot format its folder" });
    });
  }

  protected override async answer(): Promise<void> {
    const admin = new Kafka({
      brokers: [this.brokers],
      clientId: "tally-services",
      connectionTimeout: 1_000,
      requestTimeout: 1_500,
      retry: { retries: 0 },
      logLevel: logLevel.NOTHING,
    }).admin();
    try {
      await admin.connect();
      const { brokers } = await admin.describeCluster();
      if (brokers.length === 0) throw new Error("the broker is not registered yet");
    } finally {
      await admin.disconnect();
    }
  }
}

const SECURE = "SECURE";

function securityOf({ bundle }: Authority): Record<string, string> {
  const { name, password } = KAFKA_USER;
  const modules = "org.apache.kafka.common.security";
  const listener = `listener.name.${SECURE.toLowerCase()}`;
  const scram = SCRAM.map((kind): [string, string] => {
    return [`${listener}.${kind.toLowerCase()}.sasl.jaas.config`, `${modules}.scram.ScramLoginModule required;`];
  });
  return {
    "sasl.enabled.mechanisms": ["PLAIN", ...SCRAM].join(","),
    [`${listener}.ssl.keystore.type`]: "PEM",
    [`${listener}.ssl.keystore.location`]: bundle,
    [`${listener}.plain.sasl.jaas.config`]: `${modules}.plain.PlainLoginModule required user_${name}="${password}";`,
    ...Object.fromEntries(scram),
  };
}

const LOGGING = {
  "rootLogger.level": "warn",
  "rootLogger.appenderRef.console.ref": "console",
  "appender.console.type": "Console",
  "appender.console.name": "console",
  "appender.console.layout.type": "PatternLayout",
  "appender.console.layout.pattern": "%d %p %c: %m%n",
};

function lines(properties: Record<string, string | number>): string {
  return Object.entries(properties)
    .map(([name, value]) => `${name}=${value}\n`)
    .join("");
}
