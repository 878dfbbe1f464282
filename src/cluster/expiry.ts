import { formatDuration } from "../lib/duration.ts";
import { log } from "../telemetry/log.ts";
import { withAdmin } from "./kafka/admin.ts";
import { KafkaAway, type KafkaSettings, logTopic } from "./kafka/client.ts";

const LOG_EVERY_MS = 3_600_000;

/** Partitions in which the log has something from before that time that is not applied. `applied`: the next offset of each. */
export function unappliedBefore(
  settings: KafkaSettings,
  timeMs: number,
  applied: ReadonlyMap<number, number>,
): Promise<number[]> {
  return withAdmin(settings, async (admin) => {
    // Of each partition the first offset from that time on, or its end.
    const offsets = await admin.fetchTopicOffsetsByTimestamp(logTopic(settings.prefix), timeMs);
    const late = offsets.filter(({ partition, offset }) => (applied.get(partition) ?? 0) < Number(offset));
    return late.map(({ partition }) => partition).sort((a, b) => a - b);
  });
}

/** Says so while there is as much time left as has passed: what expires before the ledger has it is lost. */
export async function warnOfExpiry(settings: KafkaSettings, applied: ReadonlyMap<number, number>): Promise<void> {
  const half = settings.logRetention / 2;
  let partitions: number[];
  try {
    partitions = await unappliedBefore(settings, Date.now() - half, applied);
  } catch (error) {
    if (error instanceof KafkaAway) return;
    throw error;
  }
  if (partitions.length === 0) return;
  log
    .limited("expiry", LOG_EVERY_MS)
    .error("MySQL lacks records that the log will not keep for long: look why no projector takes them", {
      part: "kafka",
      partitions,
      olderThan: formatDuration(half),
      keptFor: formatDuration(settings.logRetention),
    });
}
