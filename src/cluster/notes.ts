import type { TallyGroup } from "../ports/hot-store.ts";
import type { LogRecord } from "../records.ts";
import type { CounterTable } from "../tallies/table.ts";
import type { Freshness } from "./freshness.ts";

/**
 * The groups of one frame (a message): the run of its tallies without a key, by shard. All of a source are of another time or
 * none: an upload numbers them apart, and notes are of now.
 */
export function groupsOf(source: string, records: readonly LogRecord[]): { shard: number; group: TallyGroup }[] {
  const groups = new Map<number, TallyGroup>();
  for (const record of records) {
    if (record.kind !== "tally" || record.once) continue;
    let group = groups.get(record.shard);
    if (!group) {
      group = { source, n: record.n, amounts: [], ...(record.past && { past: true }) };
      groups.set(record.shard, group);
    }
    group.n = record.n;
    group.amounts.push([record.metric, record.subject, record.amount]);
  }
  return Array.from(groups, ([shard, group]) => ({ shard, group }));
}

interface Unsettled {
  /** The first one: a put of a note before it, confirmed after all was put again, says nothing of these. */
  since: number;
  /** Notes appended to the outbox whose put is not confirmed. */
  notes: number;
  /** The last one that was appended, numbered over all shards; a confirmation of all up to here settles the shard. */
  last: number;
  /** The shard's seq since then, for as long as only notes change what Redis shows of it. */
  seq: number;
  /** By slot: what `pushed` was, and up to where the outbox has it. */
  marks: Map<number, { from: number; to: number }>;
}

/**
 * Which of this node's own notes Redis has, shard by shard: a shard is unsettled from the moment a note enters the outbox
 * (it may get to Redis by way of Kafka and the ledger before it is put there) until all its notes are known to be there.
 * Only then `pushed` moves, and readings of the shard may be believed again (see Freshness).
 */
export class Notes {
  readonly #table: CounterTable;
  readonly #freshness: Freshness;
  readonly #shards = new Map<number, Unsettled>();
  #lastNote = 0;

  constructor(parts: { table: CounterTable; freshness: Freshness }) {
    this.#table = parts.table;
    this.#freshness = parts.freshness;
  }

  /** A note of this run stands in the outbox; before anything of it goes out. */
  appended(records: readonly LogRecord[]): void {
    const touched = new Set<number>();
    for (const record of records) {
      if (record.kind !== "tally" || record.once) continue;
      let there = this.#shards.get(record.shard);
      if (!there) {
        there = this.#open(record.shard);
      }
      if (!touched.has(record.shard)) {
        touched.add(record.shard);
        there.notes++;
        there.last = ++this.#lastNote;
      }
      there.marks.set(record.slot, { from: this.#freshness.pushed(record.slot), to: record.notedAfter });
    }
  }

  /** What an earlier run left in the outbox: until Redis has it, readings would show less than was shown before. */
  inherit(records: readonly LogRecord[]): void {
    for (const record of records) {
      if (record.kind !== "tally" || record.once || this.#shards.has(record.shard)) continue;
      const there = this.#open(record.shard);
      there.notes = 1;
      there.last = ++this.#lastNote;
    }
  }

  /** What `confirmAll` is to be told later. */
  lastOf(shard: number): number {
    return this.#shards.get(shard)?.last ?? 0;
  }

  /** What `confirm` is to be told later; after `appended`. */
  runOf(shard: number): number {
    return this.#shards.get(shard)?.since ?? 0;
  }

  unsettled(): number[] {
    return [...this.#shards.keys()];
  }

  /** One note's put was confirmed, with what its counts show now, asked for at `tick`. */
  confirm(
    shard: number,
    { run, group, counts, tick }: { run: number; group: TallyGroup; counts: (number | null)[]; tick: number },
  ): void {
    const there = this.#shards.get(shard);
    if (there?.since !== run) return;
    there.notes--;
    if (there.notes > 0) return;
    this.#push(there);
    this.#takeIn(shard, there.seq, { group, counts, tick });
    this.#settle(shard);
  }

  /** Everything of the shard up to note `last` was put again and confirmed. False: there is more by now. */
  confirmAll(shard: number, last: number): boolean {
    const there = this.#shards.get(shard);
    if (!there) return true;
    if (there.last !== last) return false;
    this.#push(there);
    this.#settle(shard);
    return true;
  }

  #open(shard: number): Unsettled {
    this.#freshness.open(shard);
    const seq = this.#freshness.seq(shard);
    const there = { since: this.#lastNote + 1, notes: 0, last: 0, seq, marks: new Map() };
    this.#shards.set(shard, there);
    return there;
  }

  #push({ marks }: Unsettled): void {
    for (const [slot, mark] of marks) this.#freshness.push(slot, mark);
  }

  /**
   * The puts' answers are readings too: counters that are added to all the time need no other. But what was set, erased or merged
   * since the shard was opened they may be from before.
   */
  #takeIn(
    shard: number,
    seq: number,
    { group, counts, tick }: { group: TallyGroup; counts: (number | null)[]; tick: number },
  ): void {
    this.#table.enter();
    try {
      for (const [i, [metric, subject]] of group.amounts.entries()) {
        const count = counts[i];
        if (count === null || count === undefined) continue;
        const slot = this.#table.find(metric, subject);
        if (slot < 0 || !this.#table.isLoaded(slot)) continue;
        this.#freshness.take(this.#table, slot, { count, asked: tick, shard, seq });
      }
    } finally {
      this.#table.leave();
    }
  }

  #settle(shard: number): void {
    this.#shards.delete(shard);
    this.#freshness.close(shard);
  }
}
