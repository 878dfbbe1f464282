import type { ShardCommit } from "../../ports/hot-store.ts";
import type { Loss } from "../../ports/ledger.ts";
import type { Frame } from "../../records.ts";

/** A message of the log. */
export interface LogMessage {
  partition: number;
  offset: number;
  frame: Frame;
}

/** Numbers that have not come, while later ones of their source and shard have: `from` to `to`. */
export type Gap = Loss;

export interface ApplyOptions {
  /** The log's topic, by its id: offsets of another one say nothing. */
  topic: string;
  /**
   * The next offset of each partition, where that says more than the messages do: of dead letters, or of none at all.
   */
  positions?: ReadonlyMap<number, number>;
  /** What was stored last: a ledger that has less is an older one, and lacks what lies between. */
  stored?: ReadonlyMap<number, number>;
  /** True: what the gap lacks will not come any more. It is recorded as a loss and passed. */
  acceptsGap?: (gap: Gap) => boolean;
}

/** Restored from a backup, or by a replica that lacked the last commits: it must be read where to go on. Nothing was applied. */
export class OlderLedger extends Error {}

/** What a transaction has stored. */
export interface AppliedMessages {
  /** By shard. Empty where everything had been decided before. */
  commits: ShardCommit[];
  /** Shards that erasures or merges have changed: their copies are brought up to the ledger, not told of the commit. */
  changed: number[];
  /** Those of them that got registers which no commit names. */
  gained: number[];
  /**
   * Messages that hold records behind a gap. The next call must begin with them; their partitions' positions stay at
   * the first of each, so that whoever takes a partition over reads them again.
   */
  held: LogMessage[];
  /** Why: the caller has the source send again. */
  gaps: Gap[];
  losses: Loss[];
  /** The next offset of each partition. */
  positions: Map<number, number>;
  /** Records decided, registers changed or new, counts written. */
  records: number;
  registers: number;
  counts: number;
}
