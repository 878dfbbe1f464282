import { SHARDS } from "../../arithmetic/shard.ts";
import { shardOf } from "../../arithmetic/shard-of.ts";
import { KEYS_MS } from "../../limits.ts";
import type { Batch, StoredKey } from "../../ports/ledger.ts";
import { BatchBuilder } from "../../projector/batch.ts";
import type { Frame, LogRecord, RecordOnce } from "../../records.ts";
import type { Gap, LogMessage } from "./messages.ts";

/** What the ledger had decided of each source before: its last n by shard. */
export class LastNumbers {
  readonly #last = new Map<string, Float64Array>();

  set(source: string, shard: number, last: number): void {
    let shards = this.#last.get(source);
    if (!shards) {
      shards = new Float64Array(SHARDS);
      this.#last.set(source, shards);
    }
    shards[shard] = last;
  }

  get(source: string, shard: number): number {
    return this.#last.get(source)?.[shard] ?? 0;
  }
}

/** What messages are about: what has to be locked and read before they can be decided. */
export interface Touched {
  /** By shard, in rising order: the partition its records came in. */
  shards: Map<number, number>;
  partitions: number[];
  sources: Map<string, Set<number>>;
  keys: Set<string>;
  /** Shards that merges write to, though nothing of theirs may be among the messages. */
  mergedInto: Set<number>;
}

export function touchedBy(messages: readonly LogMessage[], positions?: ReadonlyMap<number, number>): Touched {
  const shards = new Map<number, number>();
  const partitions = new Set<number>(positions?.keys());
  const sources = new Map<string, Set<number>>();
  const keys = new Set<string>();
  const mergedInto = new Set<number>();
  for (const { partition, frame } of messages) {
    partitions.add(partition);
    let ofSource = sources.get(frame.source);
    if (!ofSource) {
      ofSource = new Set();
      sources.set(frame.source, ofSource);
    }
    for (const record of frame.records) {
      const { shard, once } = record;
      shards.set(shard, partition);
      ofSource.add(shard);
      if (once) keys.add(once.key);
      if (record.kind === "merge") mergedInto.add(shardOf(record.to));
    }
  }
  return {
    shards: new Map([...shards].sort((a, b) => a[0] - b[0])),
    partitions: [...partitions].sort((a, b) => a - b),
    sources,
    keys,
    mergedInto,
  };
}

/** What of a shard a commit has decided, for those who have it on its way. */
interface Decisions {
  groups: [source: string, n: number][];
  keys: string[];
  /** Those of both that are of another time, as ShardCommit names them. */
  past?: string[];
}

export interface Folded {
  batch: Batch;
  /** By shard. */
  decisions: Map<number, Decisions>;
  held: LogMessage[];
  gaps: Gap[];
  records: number;
}

/**
 * Decides messages against the ledger before them. A record that comes after its successor, be it in another message or
 * in another order of the partitions, is found by going round until nothing more is decided; only then is a gap a gap.
 */
export function fold(
  messages: readonly LogMessage[],
  before: { last: LastNumbers; keys: readonly StoredKey[] },
  options: { nowMs: number; acceptsGap?: ((gap: Gap) => boolean) | undefined },
): Folded {
  const keys = new Map<string, { atMs: number }>(before.keys.map((key) => [key.key, key]));
  let acceptsGap: ((gap: Gap) => boolean) | undefined;
  const builder = new BatchBuilder({
    last: (source, shard) => before.last.get(source, shard),
    mayCome: (gap) => acceptsGap?.(gap) !== true,
    isRepeat: (once) => isRepeat(keys, once),
  });
  let held = messages.slice();
  const round = () => {
    for (let before = -1; held.length > 0 && builder.decided > before; ) {
      before = builder.decided;
      held = held.filter(({ frame }) => !addWhole(builder, frame));
    }
  };
  round();
  if (held.length > 0 && options.acceptsGap) {
    acceptsGap = options.acceptsGap;
    round();
  }
  const batch = builder.finish(options.nowMs);
  const decisions = decisionsOf(messages, before.last, builder);
  return { batch, decisions, held, gaps: gapsOf(held, builder), records: builder.decided };
}

/** Whether all of the frame is decided now. */
function addWhole(builder: BatchBuilder, frame: Frame): boolean {
  builder.add(frame, 0);
  return frame.records.every(({ shard, n }) => n <= builder.last(frame.source, shard));
}

/** A key counts for 10 minutes from its first use, by the clocks of those who wrote the records. */
function isRepeat(keys: Map<string, { atMs: number }>, once: RecordOnce): boolean {
  const known = keys.get(once.key);
  if (known && once.atMs - known.atMs < KEYS_MS) return true;
  keys.set(once.key, once);
  return false;
}

/**
 * The numbers alone say what was decided here: above the last one before, not above the last one now. In whatever order: behind a
 * gap come those first that were held. What came twice is named twice, and is gone the second time.
 */
function decisionsOf(
  messages: readonly LogMessage[],
  before: LastNumbers,
  builder: BatchBuilder,
): Map<number, Decisions> {
  const decisions = new Map<number, Decisions>();
  for (const { frame } of messages) {
    const { source } = frame;
    for (let i = 0; i < frame.records.length; i++) {
      const record = frame.records[i] as LogRecord;
      const { shard, n } = record;
      if (n <= before.get(source, shard) || n > builder.last(source, shard)) continue;
      // A register is covered by its stamp (ShardCommit); its key, like any other, is on its way until it is named here.
      if (record.kind !== "tally" && record.once === undefined) continue;
      let ofShard = decisions.get(shard);
      if (!ofShard) {
        ofShard = { groups: [], keys: [] };
        decisions.set(shard, ofShard);
      }
      if (record.once) ofShard.keys.push(record.once.key);
      else if (endsGroup(frame.records, i)) ofShard.groups.push([source, n]);
      else continue;
      if (record.kind !== "tally" || !record.past) continue;
      ofShard.past ??= [];
      ofShard.past.push(record.once?.key ?? `${n} ${source}`);
    }
  }
  return decisions;
}

/**
 * Whether the tally record at `i` is the last one of its group: the run of them, without keys, in its message and
 * shard.
 */
function endsGroup(records: readonly LogRecord[], i: number): boolean {
  const { shard } = records[i] as LogRecord;
  for (let next = i + 1; next < records.length; next++) {
    const record = records[next] as LogRecord;
    if (record.shard === shard) return record.kind !== "tally" || record.once !== undefined;
  }
  return true;
}

function gapsOf(held: readonly LogMessage[], builder: BatchBuilder): Gap[] {
  const gaps = new Map<string, Gap>();
  for (const { frame } of held) {
    for (const { shard, n } of frame.records) {
      const last = builder.last(frame.source, shard);
      if (n <= last) continue;
      const name = `${frame.source} ${shard}`;
      const known = gaps.get(name);
      if (!known) gaps.set(name, { source: frame.source, shard, from: last + 1, to: n - 1 });
      else if (n - 1 < known.to) known.to = n - 1;
    }
  }
  return [...gaps.values()];
}
