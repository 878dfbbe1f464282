import type { MetricSetting } from "../model.ts";

/** What a caller may do; each role includes those before it. */
export const ROLES = ["read", "count", "write", "admin"] as const;
export type Role = (typeof ROLES)[number];

export const LOG_LEVELS = ["debug", "info", "warn", "error"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export const LOG_FORMATS = ["json", "pretty"] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];

export interface KeySetting {
  role: Role;
  secret: string;
}

/** A token bucket for each caller. */
export interface RateLimit {
  perSecond: number;
  burst: number;
}

/** Which relation says whom an actor knows, and the subject type its actors have as subjects. */
export interface KnownSetting {
  relation: string;
  type: string;
}

export interface WebhookSetting {
  metric: string;
  /** The counts that are told. */
  at: number[];
  url: string;
  secret: string;
}

/** Every setting, checked. The table in table.ts says each one's name, default, bounds and meaning. */
export interface Settings {
  host: string;
  port: number;
  /** 0: no gRPC. */
  grpcPort: number;
  grpcType: string;
  data: string;
  workers: number;
  flushMs: number;
  countersMax: number;
  migrate: boolean;
  consumer: boolean;

  redisUrl: string | null;
  redisToken: string | null;
  kafkaBrokers: string[];
  kafkaTls: boolean;
  /** A file with the authorities to trust instead of the system's. */
  kafkaCa: string | null;
  kafkaSasl: "plain" | "scram-sha-256" | "scram-sha-512" | null;
  kafkaUsername: string | null;
  kafkaPassword: string | null;
  /** Of the log's topic, where it is created. */
  kafkaPartitions: number;
  /** Milliseconds. */
  logRetention: number;
  mysqlUrl: string | null;
  prefix: string;

  keys: KeySetting[];
  jwtSecret: string | null;
  jwksUrl: string | null;
  anonymous: "none" | "read" | "count";
  open: boolean;
  /** `["*"]`: any origin. */
  corsOrigins: string[];
  rateLimit: RateLimit | null;
  /** Addresses and networks whose forwarded addresses are believed. */
  trustedProxies: string[];

  metrics: MetricSetting[];
  /** The subject types that exist; null: any. */
  types: string[] | null;
  known: KnownSetting | null;
  webhooks: WebhookSetting[];

  topCandidates: number;
  /** Milliseconds. */
  hotHalfLife: number;
  historyDays: number;

  logLevel: LogLevel;
  logFormat: LogFormat;
  /** The settings file that was read, or null. */
  configFile: string | null;
}
