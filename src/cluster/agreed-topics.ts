import type { Settings } from "../config.ts";
import { logTopic } from "./kafka/client.ts";
import { ensureTopics } from "./kafka/topics.ts";
import { recordedLog } from "./mysql/log-partitions.ts";
import { checkSchema } from "./mysql/open-ledger.ts";
import { storesOf } from "./stores.ts";

/**
 * How many partitions the log has, for who is no node. One that is missing is made with what the nodes have agreed upon. Throws
 * StartError where the ledger's schema is not up to date: it is not theirs to migrate.
 */
export async function agreedTopics(settings: Settings): Promise<number> {
  const { mysqlUrl } = storesOf(settings);
  await checkSchema(mysqlUrl);
  const { partitions } = await recordedLog(mysqlUrl, logTopic(settings.prefix));
  return ensureTopics(partitions === null ? settings : { ...settings, kafkaPartitions: partitions });
}
