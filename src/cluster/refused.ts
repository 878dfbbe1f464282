import { SettingsError } from "../config/problems.ts";
import type { Settings } from "../config.ts";
import { EXIT, StartError } from "../errors.ts";
import { LedgerUnavailable } from "../ports/ledger.ts";
import { isAway } from "./away.ts";
import { KafkaAway } from "./kafka/client.ts";
import { saslRefusal } from "./kafka/errors.ts";
import { CredentialsRefused } from "./redis/server.ts";

/** MySQL's numbers: not let into the database, not let in, no such database, not let in without a password. */
const REFUSALS: ReadonlySet<unknown> = new Set([1044, 1045, 1049, 1698]);

/**
 * The setting that a store refuses, as a wrong one; null for everything else. Only for what starts: who runs already has been
 * let in with it, so there it is a store that is away until somebody has mended it.
 */
export function refusedSetting(error: unknown, settings: Settings): SettingsError | null {
  if (error instanceof CredentialsRefused) {
    const name = settings.redisUrl?.startsWith("http") ? "redisToken" : "redisUrl";
    const right = name === "redisToken" ? "be a token" : "have a user and a password";
    return SettingsError.of(name, settings[name], `must ${right} that Redis takes, which says: ${error.said}`);
  }
  const kafka = error instanceof KafkaAway ? saslRefusal(error.cause) : null;
  if (kafka !== null) {
    const right =
      kafka.setting === "kafkaSasl" ? "be one that Kafka takes" : `be that of ${settings.kafkaUsername} in Kafka`;
    return SettingsError.of(kafka.setting, settings[kafka.setting], `must ${right}, which says: ${kafka.said}`);
  }
  const cause = error instanceof LedgerUnavailable ? (error.cause as { errno?: number; message: string }) : null;
  if (!REFUSALS.has(cause?.errno)) return null;
  const right = "must have a user, a password and a database that MySQL takes";
  return SettingsError.of("mysqlUrl", settings.mysqlUrl, `${right}, which says: ${cause?.message}`);
}

/** What a command that cannot do without the stores ends with, in a line where the outside can mend it. */
export function commandError(error: unknown, settings: Settings): unknown {
  const refused = refusedSetting(error, settings);
  if (refused !== null) return refused;
  if (!isAway(error) && !(error instanceof KafkaAway)) return error;
  return new StartError(`a store cannot be asked: ${(error as Error).message}`, EXIT.unavailable);
}
