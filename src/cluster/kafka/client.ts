import { readFileSync } from "node:fs";
import { connect as connectTcp, isIP, type Socket } from "node:net";
import { type ConnectionOptions, connect as connectTls } from "node:tls";
import { type ISocketFactory, Kafka, type LogEntry, logLevel, type SASLOptions } from "kafkajs";
import "./idle.ts";
import type { Settings } from "../../config/settings.ts";
import { StartError } from "../../errors.ts";
import { log } from "../../telemetry/log.ts";

export type KafkaSettings = Pick<
  Settings,
  | "kafkaBrokers"
  | "kafkaTls"
  | "kafkaCa"
  | "kafkaSasl"
  | "kafkaUsername"
  | "kafkaPassword"
  | "kafkaPartitions"
  | "prefix"
  | "logRetention"
>;

/** Kafka cannot be asked now, or did not answer in time: what was sent may or may not be in the log. */
export class KafkaAway extends Error {
  readonly reason: string;

  constructor(reason: string, options?: ErrorOptions) {
    super(`Kafka is away: ${reason}`, options);
    this.reason = reason;
    this.name = "KafkaAway";
  }
}

export const logTopic = (prefix: string) => `${prefix}.log`;
export const deadTopic = (prefix: string) => `${prefix}.log.dead`;
export const projectorGroup = (prefix: string) => `${prefix}.projector`;

const CONNECT_MS_MAX = 1000;
const KEEP_ALIVE_MS = 10_000;
/** kafkajs says the same thing for each partition and each try; what matters is said by its callers. */
const LOG_EVERY_MS = 60_000;

/**
 * One kafkajs client and its connections, which can be cut at any moment: kafkajs itself waits for answers under way
 * before it lets go of a connection, and a stopped broker never answers.
 */
export class KafkaLink {
  readonly kafka: Kafka;
  /** A connection ended and it was not we who did it. */
  onClosed: (() => void) | null = null;
  readonly #sockets = new Set<Socket>();
  #isCut = false;

  constructor(settings: KafkaSettings, requestMsMax: number) {
    this.kafka = new Kafka({
      clientId: settings.prefix,
      brokers: rotated(settings.kafkaBrokers),
      ...(settings.kafkaTls && { ssl: tlsOptions(settings) }),
      ...(settings.kafkaSasl && { sasl: saslOptions(settings) }),
      connectionTimeout: CONNECT_MS_MAX,
      authenticationTimeout: 2 * CONNECT_MS_MAX,
      requestTimeout: requestMsMax,
      // Enough to try each broker once: a try rotates to the next. Whoever uses a link begins anew with another one.
      retry: {
        retries: settings.kafkaBrokers.length,
        initialRetryTime: 50,
        maxRetryTime: 200,
        factor: 0.2,
        multiplier: 2,
      },
      socketFactory: this.#connect,
      logLevel: logLevel.WARN,
      logCreator: () => writeLog,
    });
  }

  /** Ends all connections at once; everything under way fails. */
  cut(): void {
    this.#isCut = true;
    for (const socket of this.#sockets) socket.destroy(new Error("given up"));
  }

  readonly #connect: ISocketFactory = ({ host, port, ssl, onConnect }) => {
    const socket = ssl
      ? connectTls({ host, port, ...(isIP(host) ? {} : { servername: host }), ...ssl }, onConnect)
      : connectTcp({ host, port }, onConnect);
    socket.setKeepAlive(true, KEEP_ALIVE_MS);
    socket.setNoDelay(true);
    this.#sockets.add(socket);
    socket.once("close", () => {
      this.#sockets.delete(socket);
      if (!this.#isCut) this.onClosed?.();
    });
    if (this.#isCut) queueMicrotask(() => socket.destroy(new Error("given up")));
    return socket;
  };
}

/** Begins somewhere else each time: not every node should ask the first broker, nor a node the same one again. */
function rotated(brokers: readonly string[]): string[] {
  const first = Math.floor(Math.random() * brokers.length);
  return [...brokers.slice(first), ...brokers.slice(0, first)];
}

function tlsOptions({ kafkaCa }: KafkaSettings): ConnectionOptions {
  if (kafkaCa === null) return {};
  try {
    return { ca: [readFileSync(kafkaCa, "utf8")] };
  } catch (error) {
    throw new StartError(`--kafka-ca: ${kafkaCa} cannot be read: ${(error as Error).message}`);
  }
}

function saslOptions({ kafkaSasl, kafkaUsername, kafkaPassword }: KafkaSettings): SASLOptions {
  return {
    mechanism: kafkaSasl as "plain",
    username: kafkaUsername ?? "",
    password: kafkaPassword ?? "",
  };
}

function writeLog({ namespace, level, log: { message, broker, error, groupId } }: LogEntry): void {
  const name = namespace.replace(/\d+$/, "").trim();
  const limited = log.limited(`kafkajs ${name}`, LOG_EVERY_MS);
  const fields = { part: "kafka", from: name, broker, reason: error, groupId };
  // An answer that says no, and the end of a session, are told by whoever asked; what we cut is no news.
  const isTold = /^(Response|Crash|SASL|Connection error: given up)\b/.test(message);
  if (level === logLevel.ERROR && !isTold) limited.warn(message, fields);
  else limited.debug(message, fields);
}
