import { expect, test } from "bun:test";
import { loadSettings, SettingsError } from "../config.ts";
import { EXIT, StartError } from "../errors.ts";
import { HotStoreAway } from "../ports/hot-store.ts";
import { LedgerUnavailable } from "../ports/ledger.ts";
import { KafkaAway } from "./kafka/client.ts";
import { refusalError } from "./redis/server.ts";
import { commandError, refusedSetting } from "./refused.ts";

const URLS = { redisUrl: "redis://tally:geheim@redis:6379", mysqlUrl: "mysql://tally:geheim@mysql/tally" };
const BASE = loadSettings({ args: { settings: new Map(), configFile: undefined }, env: {} }).settings;
const settings = { ...BASE, ...URLS };

function mysqlSays(errno: number, message: string): LedgerUnavailable {
  return new LedgerUnavailable(`MySQL: ${message}`, { cause: Object.assign(new Error(message), { errno }) });
}

test("credentials that Redis refuses are its URL, or the token of one behind REST", () => {
  expect(refusedSetting(refusalError("WRONGPASS no such user"), settings)?.message).toBe(
    "wrong setting: --redis-url = redis://tally:***@redis:6379: " +
      "must have a user and a password that Redis takes, which says: WRONGPASS no such user",
  );
  const rest = { ...settings, redisUrl: "https://redis.example.org", redisToken: "geheim" };
  expect(refusedSetting(refusalError("Unauthorized"), rest)?.message).toBe(
    "wrong setting: --redis-token = ***: must be a token that Redis takes, which says: Unauthorized",
  );
});

test.each([
  [1044, "Access denied for user 'tally'@'%' to database 'tally'"],
  [1045, "Access denied for user 'tally'@'%' (using password: YES)"],
  [1049, "Unknown database 'tally'"],
  [1698, "Access denied for user 'tally'@'%'"],
])("what MySQL refuses with %i is its URL", (errno, message) => {
  expect(refusedSetting(mysqlSays(errno, message), settings)?.message).toBe(
    "wrong setting: --mysql-url = mysql://tally:***@mysql/tally: " +
      `must have a user, a password and a database that MySQL takes, which says: ${message}`,
  );
});

const sasl = (said: string) => Object.assign(new Error(said), { name: "KafkaJSSASLAuthenticationError" });

test.each([
  ["SASL SCRAM-SHA-512 mechanism is not supported by the server", "--kafka-sasl = plain: must be one that Kafka takes"],
  ["SASL PLAIN authentication failed: Authentication failed: Invalid", "--kafka-password = ***: must be that of tally"],
])("what Kafka's SASL refuses with %s is that setting", (said, says) => {
  const secure = { ...settings, kafkaSasl: "plain" as const, kafkaUsername: "tally", kafkaPassword: "geheim" };
  const error = new KafkaAway(said, { cause: new Error("retries", { cause: sasl(said) }) });
  expect(refusedSetting(error, secure)?.message).toStartWith(`wrong setting: ${says}`);
});

test.each([
  ["MySQL is full", mysqlSays(1040, "Too many connections")],
  ["MySQL is away", new LedgerUnavailable("MySQL: no answer in time")],
  ["Redis is away", new HotStoreAway("Redis cannot be reached: 127.0.0.1:6379 does not answer")],
  ["Kafka is away", new KafkaAway("no answer")],
  [
    "Kafka goes while it asks who we are",
    new KafkaAway("x", { cause: sasl("SASL PLAIN authentication failed: Closed connection") }),
  ],
])("%s: no wrong setting", (_, error) => {
  expect(refusedSetting(error, settings)).toBeNull();
  const ended = commandError(error, settings) as StartError;
  expect(ended).toBeInstanceOf(StartError);
  expect(ended).toMatchObject({ message: `a store cannot be asked: ${error.message}`, exitStatus: EXIT.unavailable });
});

test("all else stays what it is", () => {
  const bug = new Error("a bug");
  expect(commandError(bug, settings)).toBe(bug);
  const other = new StartError("Redis may evict keys");
  expect(commandError(other, settings)).toBe(other);
  expect(commandError(mysqlSays(1045, "Access denied"), settings)).toBeInstanceOf(SettingsError);
});
