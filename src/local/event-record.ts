import type { Stamp } from "../arithmetic/stamp.ts";
import type { NumberedEvent } from "../ports/bulk.ts";
import { type LogRecord, NO_SLOT } from "../records.ts";

/** A numbered event as the log has it; `stamp` is a relation's, `nowMs` a tally's time if it brings none. */
export function recordOf(event: NumberedEvent, stamp: Stamp, nowMs: number): LogRecord {
  const { kind, shard, n, metric, subject, actor, by, atMs } = event;
  const head = { shard, n, metric, subject, once: undefined };
  const past = atMs !== null;
  if (kind === "relation") return { kind, ...head, past, actor, stamp };
  if (kind === "void") return { kind, ...head };
  return { kind, ...head, past, amount: by, atMs: atMs ?? nowMs, slot: NO_SLOT, notedAfter: 0 };
}
