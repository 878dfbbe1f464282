import type { Settings } from "../config.ts";
import { logTopic } from "./kafka/client.ts";
import { ensureTopics } from "./kafka/topics.ts";
import { recordedLog } from "./mysql/log-partitions.ts";
import { storesOf } from "./stores.ts";

/** How many partitions the log has, for who is no node. One that is missing is made with what the nodes have agreed upon. */
export async function agreedTopics(settings: Settings): Promise<number> {
  const { partitions } = await recordedLog(storesOf(settings).mysqlUrl, logTopic(settings.prefix));
  return ensureTopics(partitions === null ? settings : { ...settings, kafkaPartitions: partitions });
}
