import { SettingsError } from "../config/problems.ts";
import type { Settings } from "../config.ts";
import { logTopic } from "./kafka/client.ts";
import { ensureTopics } from "./kafka/topics.ts";
import { recordedLog } from "./mysql/log-partitions.ts";
import { checkSchema } from "./mysql/open-ledger.ts";
import { storesOf } from "./stores.ts";

/**
 * How many partitions the log has, for who is no node. One that is missing is made with what the nodes have agreed upon. Throws
 * StartError where the ledger's schema is not up to date: it is not theirs to migrate; SettingsError where the ledger's nodes
 * have another prefix: what is looked at then would be nobody's.
 */
export async function agreedTopics(settings: Settings): Promise<number> {
  const { mysqlUrl } = storesOf(settings);
  await checkSchema(mysqlUrl);
  const { partitions, isUsed, others } = await recordedLog(mysqlUrl, logTopic(settings.prefix));
  if (partitions === null && !isUsed && others.length > 0) {
    const prefixes = others.map((topic) => topic.replace(/\.log$/, "")).join(", ");
    throw SettingsError.of("prefix", settings.prefix, `must be that of the nodes on this ledger: ${prefixes}`);
  }
  return ensureTopics(partitions === null ? settings : { ...settings, kafkaPartitions: partitions });
}
