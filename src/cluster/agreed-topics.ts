import { SettingsError } from "../config/problems.ts";
import type { Settings } from "../config.ts";
import { logTopic } from "./kafka/client.ts";
import { ensureTopics } from "./kafka/topics.ts";
import { recordedLog } from "./mysql/log-partitions.ts";
import { checkSchema } from "./mysql/open-ledger.ts";
import { otherPrefixes } from "./other-prefixes.ts";
import { storesOf } from "./stores.ts";

/**
 * How many partitions the log has, for who is no node. One that is missing is made with what the nodes have agreed upon. Throws
 * StartError where the ledger's schema is not up to date: it is not theirs to migrate; SettingsError where the ledger's nodes
 * have another prefix: what is looked at then would be nobody's.
 */
export async function agreedTopics(settings: Settings): Promise<number> {
  const { mysqlUrl } = storesOf(settings);
  await checkSchema(mysqlUrl);
  const recorded = await recordedLog(mysqlUrl, logTopic(settings.prefix));
  const { partitions, isUsed } = recorded;
  const others = otherPrefixes(recorded);
  if (partitions === null && !isUsed && others.length > 0) {
    throw SettingsError.of("prefix", settings.prefix, `must be that of the nodes on this ledger: ${others.join(", ")}`);
  }
  return ensureTopics(partitions === null ? settings : { ...settings, kafkaPartitions: partitions });
}
