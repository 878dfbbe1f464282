import type { LogMessage } from "./mysql/messages.ts";

/**
 * Of one shard in one transaction. Redis takes a commit in shard by shard, each in one step in which nobody else is answered:
 * with 50,000 likes of one subject that took longer than the second after which Redis counts as away.
 */
export const SHARD_RECORDS_MAX = 10_000;

/**
 * Messages in their order, divided as they are to be stored: behind each job (an erasure or a merge, which changes what the
 * messages before it have brought), and before one shard gets too much.
 */
export function transactions<M extends Pick<LogMessage, "frame">>(messages: readonly M[]): M[][] {
  const parts: M[][] = [];
  let part: M[] = [];
  const records = new Map<number, number>();
  const end = () => {
    if (part.length > 0) parts.push(part);
    part = [];
    records.clear();
  };
  for (const message of messages) {
    let isJob = false;
    const own = new Map<number, number>();
    for (const { kind, shard } of message.frame.records) {
      isJob ||= kind === "erase" || kind === "merge";
      own.set(shard, (own.get(shard) ?? 0) + 1);
    }
    if ([...own].some(([shard, n]) => n + (records.get(shard) ?? 0) > SHARD_RECORDS_MAX)) end();
    part.push(message);
    for (const [shard, n] of own) records.set(shard, n + (records.get(shard) ?? 0));
    if (isJob) end();
  }
  end();
  return parts.length > 0 ? parts : [[]];
}
