import { availableParallelism } from "node:os";
import type { z } from "zod";
import { HISTORY_DAYS_MAX } from "../limits.ts";
import * as schema from "./schemas.ts";
import { LOG_FORMATS, LOG_LEVELS, type Settings } from "./settings.ts";
import * as structures from "./structures.ts";

export const GROUPS = {
  serving: "Serving",
  counting: "What is counted",
  access: "Access",
  cluster: "Cluster",
  logs: "Logs",
} as const;

/** One setting, in all that is known about it: flags, environment, file, help and docs are made from this. */
interface Setting<T = unknown> {
  group: keyof typeof GROUPS;
  /** What stands for the value in the help. */
  value: string;
  schema: z.ZodType<T>;
  default: T | (() => T);
  /** The default in words, where the value would not say it. */
  defaultText?: string;
  unit?: string;
  /** One line for the help. */
  doc: string;
  /** What the docs say beyond it. */
  more?: string;
  /** What it governs is not in this version: what the docs and the log say of it. */
  later?: string;
  /** How to hide the value where it is shown: all of it, the passwords in a URL, the secrets of role:secret. */
  secret?: "all" | "url" | "keys";
  /** SIGHUP applies it. */
  reload?: true;
  /** What the file's example holds instead of the default. */
  example?: string;
}

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const WORKERS_MAX = 64;
/** More threads than this do not pay by default: the log has one writer. */
const WORKERS_DEFAULT_MAX = 8;

function workersDefault(): number {
  return process.platform === "linux" ? Math.min(availableParallelism(), WORKERS_DEFAULT_MAX) : 1;
}

type Table = { readonly [K in keyof Omit<Settings, "configFile">]: Setting<Settings[K]> };

export const SETTINGS: Table = {
  host: {
    group: "serving",
    value: "HOST",
    schema: schema.host,
    default: "127.0.0.1",
    doc: "address to listen on",
    more: "Another address than loopback needs keys, JWT or `open` (protected mode).",
  },
  port: {
    group: "serving",
    value: "PORT",
    schema: schema.count(0, 65535),
    default: 8080,
    doc: "HTTP port; 0 picks a free one",
    more: "The line that says `listening` names the port that was picked.",
  },
  grpcPort: {
    group: "serving",
    value: "PORT",
    schema: schema.count(0, 65535),
    default: 50051,
    doc: "gRPC port; 0 turns gRPC off",
    later: "gRPC comes in a later version; until then nothing listens there.",
  },
  grpcType: {
    group: "serving",
    value: "TYPE",
    schema: schema.name,
    default: "article",
    doc: "subject type of a content_id in gRPC",
  },
  data: {
    group: "serving",
    value: "DIR",
    schema: schema.text,
    default: "./data",
    doc: "directory of everything that is stored",
    more: "Relative to the working directory. One server at a time uses it.",
  },
  workers: {
    group: "serving",
    value: "N",
    schema: schema.count(1, WORKERS_MAX),
    default: workersDefault,
    defaultText: "CPUs, at most 8",
    unit: "threads",
    doc: "threads that answer requests",
    more: "The default is 1 where the system does not balance connections to a shared port (all but Linux).",
  },
  flushMs: {
    group: "serving",
    value: "MS",
    schema: schema.count(10, 60_000),
    default: 1000,
    unit: "milliseconds",
    doc: "how often tallies are written to the log",
    more: "A power cut loses at most one such interval of tallies; a killed process loses none.",
  },
  countersMax: {
    group: "serving",
    value: "N",
    schema: schema.count(16, 100_000_000),
    default: 10_000_000,
    unit: "counters",
    doc: "counters kept in memory",
    more: "More can be counted: those that are stored leave the memory to make room.",
  },
  migrate: {
    group: "serving",
    value: "",
    schema: schema.bool,
    default: true,
    doc: "bring the schema up to date at the start",
    more: "With `--no-migrate` a server refuses to start on an older schema; `tally migrate` brings it up to date.",
  },
  consumer: {
    group: "serving",
    value: "",
    schema: schema.bool,
    default: true,
    doc: "run the projector inside the server",
    more: "`--no-consumer` is for clusters that run `tally consume` apart.",
  },

  metrics: {
    group: "counting",
    value: "YAML",
    schema: structures.metrics,
    default: [
      { name: "views", kind: "tally" },
      { name: "shares", kind: "tally" },
      { name: "likes", kind: "relation" },
      { name: "favorites", kind: "relation" },
      { name: "follows", kind: "relation" },
    ],
    defaultText: "views, shares (tally); likes, favorites, follows (relation)",
    doc: "the metrics and their kinds",
    more: [
      "Replaces the defaults. A `tally` adds up events; a `relation` counts distinct actors, one each.",
      "A tally may have `unique` (a caller counts once in this time), `bots` (`drop` or `count`), `allow` (parts of a",
      "User-Agent that are no robot), `ignore` (networks that are not counted) and `distinct` (`true`: estimates how",
      "many callers there were). A kind that contradicts stored data is refused at the start; on one machine",
      "a metric that has never counted may change its kind. SIGHUP adds metrics; removing or changing one needs a restart.",
    ].join("\n"),
    reload: true,
    example: [
      "{views: {kind: tally, unique: 30m, bots: drop, allow: [MyMonitor], ignore: [10.0.0.0/8], distinct: true},",
      "  shares: {kind: tally}, likes: {kind: relation}, favorites: {kind: relation}, follows: {kind: relation}}",
    ].join("\n"),
  },
  types: {
    group: "counting",
    value: "NAMES",
    schema: structures.types,
    default: null,
    defaultText: "any",
    doc: "the subject types that exist",
    more: "`any` stands for all there may be, as if nothing were said.",
    example: "[article, user]",
  },
  known: {
    group: "counting",
    value: "YAML",
    schema: structures.known,
    default: null,
    defaultText: "{relation: follows, type: user}",
    doc: "whom an actor knows: a relation, a type",
    more: "The default holds where the metrics have the relation `follows`; without it nobody knows anybody.",
    example: "{relation: follows, type: user}",
  },
  webhooks: {
    group: "counting",
    value: "YAML",
    schema: structures.webhooks,
    default: [],
    doc: "whom to tell when a count is reached",
    more: "Standard Webhooks, see the API reference. A secret is `whsec_` and base64, or any other text.",
    secret: "all",
    example: '[{metric: likes, at: [100, 1000], url: "https://example.org/hook", secret: "whsec_cmVwbGFjZSBtZQ=="}]',
  },
  topCandidates: {
    group: "counting",
    value: "N",
    schema: schema.count(1000, 100_000_000),
    default: 1_000_000,
    unit: "subjects",
    doc: "subjects a ranking follows exactly",
  },
  hotHalfLife: {
    group: "counting",
    value: "DURATION",
    schema: schema.duration(HOUR / 60, 3 * DAY),
    default: 6 * HOUR,
    defaultText: "6h",
    doc: "after how long a change counts half in the ranking hot",
  },
  historyDays: {
    group: "counting",
    value: "DAYS",
    schema: schema.count(1, HISTORY_DAYS_MAX),
    default: 400,
    unit: "days",
    doc: "how long the history of each hour is kept",
  },

  keys: {
    group: "access",
    value: "ROLE:SECRET,…",
    schema: schema.list(schema.key),
    default: [],
    doc: "API keys: read, count, write or admin",
    more: "Other users of the machine can see flags: better in the environment or the file.",
    secret: "keys",
    example: '["admin:replace-me", "write:replace-me-too"]',
  },
  jwtSecret: {
    group: "access",
    value: "SECRET",
    schema: schema.text,
    default: null,
    doc: "accepts JWTs signed with it (HS256)",
    later: "JWTs come in a later version; until then none is accepted, and callers without a key are anonymous.",
    secret: "all",
    example: '"replace-me-with-32-random-bytes"',
  },
  jwksUrl: {
    group: "access",
    value: "URL",
    schema: schema.httpUrl,
    default: null,
    doc: "accepts JWTs signed with these keys",
    more: "RS256, ES256 and EdDSA.",
    later: "JWTs come in a later version; until then none is accepted, and callers without a key are anonymous.",
    secret: "url",
    example: "https://example.org/.well-known/jwks.json",
  },
  anonymous: {
    group: "access",
    value: "none|read|count",
    schema: schema.oneOf(["none", "read", "count"]),
    default: "none",
    doc: "what callers without credentials may do",
    more: "Once there are keys or JWT; before that, protected mode and `open` decide.",
  },
  open: {
    group: "access",
    value: "",
    schema: schema.bool,
    default: false,
    doc: "without keys: everyone may write",
    more: "Lifts protected mode, on any address. Nobody becomes admin by it.",
  },
  corsOrigins: {
    group: "access",
    value: "ORIGINS",
    schema: schema.list(schema.origin),
    default: [],
    doc: "web origins whose pages may call; * is any",
    reload: true,
    example: "[https://example.org]",
  },
  rateLimit: {
    group: "access",
    value: "RATE:BURST",
    schema: schema.rateLimit,
    default: null,
    unit: "requests a second : requests at once",
    doc: "what each caller may ask",
    more: "A token bucket for each key, else actor, else address.",
    later: "Comes in a later version; until then nobody is held back.",
    reload: true,
    example: "50:100",
  },
  trustedProxies: {
    group: "access",
    value: "NETWORKS",
    schema: schema.list(schema.network),
    default: [],
    doc: "proxies whose forwarded addresses count",
    more: "Behind a proxy that is not named here all callers have its address, for `unique` and `ignore`.",
    example: "[10.0.0.0/8]",
  },

  redisUrl: {
    group: "cluster",
    value: "URL",
    schema: schema.redisUrl,
    default: null,
    doc: "Redis; with Kafka and MySQL: cluster",
    more: "`redis://`, `rediss://`, `redis+cluster://host:port,host:port`, or `https://` or `http://` (Upstash REST, with the token).",
    secret: "url",
    example: "redis://user:password@redis:6379",
  },
  redisToken: {
    group: "cluster",
    value: "TOKEN",
    schema: schema.text,
    default: null,
    doc: "token of a Redis over REST (https:// or http://)",
    secret: "all",
    example: '"replace-me"',
  },
  kafkaBrokers: {
    group: "cluster",
    value: "HOST:PORT,…",
    schema: schema.list(schema.broker),
    default: [],
    doc: "Kafka's brokers",
    example: "[kafka-1:9092, kafka-2:9092]",
  },
  kafkaTls: { group: "cluster", value: "", schema: schema.bool, default: false, doc: "TLS to Kafka" },
  kafkaCa: {
    group: "cluster",
    value: "FILE",
    schema: schema.readableFile,
    default: null,
    doc: "authorities to trust for Kafka (PEM)",
    more: "Instead of the system's; turns `kafkaTls` on.",
    example: "./kafka-ca.pem",
  },
  kafkaSasl: {
    group: "cluster",
    value: "MECHANISM",
    schema: schema.oneOf(["plain", "scram-sha-256", "scram-sha-512"]),
    default: null,
    doc: "plain, scram-sha-256 or scram-sha-512",
    example: "scram-sha-256",
  },
  kafkaUsername: {
    group: "cluster",
    value: "NAME",
    schema: schema.text,
    default: null,
    doc: "user name for SASL",
    example: "tally",
  },
  kafkaPassword: {
    group: "cluster",
    value: "PASSWORD",
    schema: schema.text,
    default: null,
    doc: "password for SASL",
    secret: "all",
    example: '"replace-me"',
  },
  kafkaPartitions: {
    group: "cluster",
    value: "N",
    schema: schema.count(1, 256),
    default: 4,
    doc: "partitions of the log where it is created; so many projectors can share it, and each costs every send a little",
  },
  logRetention: {
    group: "cluster",
    value: "DURATION",
    schema: schema.duration(HOUR, 3650 * DAY),
    default: 7 * DAY,
    defaultText: "7d",

    doc: "how long the log keeps what is stored",
  },
  mysqlUrl: {
    group: "cluster",
    value: "URL",
    schema: schema.mysqlUrl,
    default: null,
    doc: "MySQL: mysql://user:password@host/database",
    more: 'With TLS: `?ssl=true` behind it, or the driver\'s options as JSON, such as `?ssl={"rejectUnauthorized":true}`; the certificate must be for that host.',
    secret: "url",
    example: "mysql://tally:password@mysql/tally",
  },
  prefix: {
    group: "cluster",
    value: "NAME",
    schema: schema.prefix,
    default: "tally",
    doc: "starts every Redis key and Kafka topic",
    more: "MySQL is not divided by it: each prefix needs a database of its own.",
  },

  logLevel: {
    group: "logs",
    value: "LEVEL",
    schema: schema.oneOf(LOG_LEVELS),
    default: "info",
    doc: "debug, info, warn or error; the line that says `listening` is written at any of them",
    reload: true,
  },
  logFormat: {
    group: "logs",
    value: "FORMAT",
    schema: schema.oneOf(LOG_FORMATS),
    default: () => (process.stdout.isTTY ? "pretty" : "json"),
    defaultText: "json; pretty on a terminal",
    doc: "json or pretty",
  },
};

export type SettingName = keyof typeof SETTINGS;
export const SETTING_NAMES = Object.keys(SETTINGS) as SettingName[];

const dashed = (name: string, dash: string) => name.replace(/[A-Z]/g, (letter) => `${dash}${letter.toLowerCase()}`);

/** `redisUrl` → `--redis-url`. */
export function flagOf(name: string): string {
  return `--${dashed(name, "-")}`;
}

/** `redisUrl` → `TALLY_REDIS_URL`. */
export function variableOf(name: string): string {
  return `TALLY_${dashed(name, "_").toUpperCase()}`;
}

export function isSwitch(name: SettingName): boolean {
  return SETTINGS[name].value === "";
}

/** It is a mapping or a list of mappings, in YAML's short form on the command line. */
export function hasParts(name: SettingName): boolean {
  return SETTINGS[name].value === "YAML";
}

export function defaultOf<K extends SettingName>(name: K): Settings[K] {
  const value = SETTINGS[name].default;
  return (typeof value === "function" ? (value as () => Settings[K])() : value) as Settings[K];
}
