import { log } from "../telemetry/log.ts";
import { logTopic } from "./kafka/client.ts";
import type { RecordedLog } from "./mysql/log-partitions.ts";

const OTHER_PREFIXES =
  "other prefixes have counted in this MySQL database, whose tables are not divided by prefix: what they count shows here, and the other way round; each prefix needs a database of its own (after a rename of the prefix this is to be expected)";

/** The prefixes of the other logs that were written for a ledger. */
export function otherPrefixes({ others }: RecordedLog): string[] {
  return others.map((topic) => topic.slice(0, topic.length - logTopic("").length));
}

/** For whoever brings a log into the ledger; not refused, since a prefix that was renamed looks the same as two in use. */
export function warnOfOtherPrefixes(prefix: string, recorded: RecordedLog): void {
  const others = otherPrefixes(recorded);
  if (others.length > 0) log.warn(OTHER_PREFIXES, { prefix, others });
}
