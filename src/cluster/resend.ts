import { NOTE_BYTES_MAX } from "../limits.ts";
import type { HotStore, Missing, RelationAnswer, TallyGroup } from "../ports/hot-store.ts";
import type { LogReader, Position } from "../ports/log.ts";
import { type LogRecord, readFrame, type TallyRecord, type VoidRecord } from "../records.ts";
import type { SharedLedger } from "./ledger.ts";
import { groupsOf } from "./notes.ts";
import type { OutboxIndex } from "./outbox-index.ts";
import { type Put, putAll } from "./put-all.ts";
import type { Shards } from "./shards.ts";

const ROUNDS = 20;
const EVENTS_AT_ONCE = 256;

/**
 * Puts into the hot store, once more, what stands in the outbox and not in the ledger: after Redis has lost data, and for
 * what an earlier run of this node had not put. Everything in it may be there already; repeats change nothing.
 */
export class Resend {
  readonly #outbox: LogReader;
  readonly #index: OutboxIndex;
  readonly #hot: HotStore;
  readonly #ledger: SharedLedger;
  readonly #shards: Shards;

  constructor(parts: {
    outbox: LogReader;
    index: OutboxIndex;
    hot: HotStore;
    ledger: SharedLedger;
    shards: Shards;
  }) {
    this.#outbox = parts.outbox;
    this.#index = parts.index;
    this.#hot = parts.hot;
    this.#ledger = parts.ledger;
    this.#shards = parts.shards;
  }

  /** All notes of these shards. Rejects, as `acts` does, where a store is away or a shard does not rest. */
  notes(wanted: ReadonlySet<number>): Promise<void> {
    const put = async (source: string, records: LogRecord[]) => {
      for (const { shard, group } of groupsOf(source, records)) await this.#group(shard, group);
    };
    return this.#each(wanted, { from: 0, upTo: Number.POSITIVE_INFINITY }, put);
  }

  /** Acts on these shards from `from` to `upTo`: those behind it have somebody who puts them. */
  acts(wanted: ReadonlySet<number>, upTo: Position, from: Position = 0): Promise<void> {
    return this.#each(wanted, { from, upTo }, (source, records) => this.#acts(source, records));
  }

  async #each(
    wanted: ReadonlySet<number>,
    { from, upTo }: { from: Position; upTo: Position },
    put: (source: string, records: LogRecord[]) => Promise<void>,
  ): Promise<void> {
    for (let at = Math.max(from, this.#index.applied); ; ) {
      const frames = this.#outbox.read(at, NOTE_BYTES_MAX);
      for (const { bytes, next } of frames) {
        if (next > upTo) return;
        at = next;
        const { source, records } = readFrame(bytes);
        const due = records.filter(({ shard, n }) => wanted.has(shard) && !this.#index.isDecided(source, shard, n));
        if (due.length > 0) await put(source, due);
      }
      if (frames.length === 0) return;
    }
  }

  async #acts(source: string, records: readonly LogRecord[]): Promise<void> {
    let events: Put[] = [];
    for (const record of records) {
      if ((record.kind === "tally" || record.kind === "void") && record.once) {
        await this.#keyed(source, record);
      } else if (record.kind === "relation") {
        const { shard, n, metric, subject, actor, stamp, past = false } = record;
        events.push({ shard, event: { metric, subject, actor, stamp, source, n, hint: null, past } });
        if (events.length >= EVENTS_AT_ONCE) {
          await this.#relations(events);
          events = [];
        }
      }
    }
    if (events.length > 0) await this.#relations(events);
  }

  async #group(shard: number, group: TallyGroup): Promise<void> {
    for (let round = 0; round < ROUNDS; round++) {
      const [answer] = await this.#hot.putTallies([{ shard, group }]);
      if (answer !== "none" && answer !== "foreign") return;
      await this.#shards.repair(shard);
    }
    throw new Error(`shard ${shard} does not come to rest`);
  }

  async #keyed(source: string, record: TallyRecord | VoidRecord): Promise<void> {
    const { shard, n, metric, subject, once } = record;
    const [amount, past] = record.kind === "tally" ? [record.amount, record.past === true] : [0, false];
    if (!once) return;
    for (let round = 0; round < ROUNDS; round++) {
      const { known, version } = await this.#ledger.keyHint(shard, once.key);
      if (known) return;
      const answer = await this.#hot.putKeyed(shard, { metric, subject, source, n, amount, past, version, ...once });
      if (typeof answer !== "string" && answer.status !== "behind") return;
      await this.#shards.repair(shard);
    }
    throw new Error(`shard ${shard} does not come to rest`);
  }

  async #relations(events: Put[]): Promise<void> {
    await this.#hot.hintActors(events.map(({ event }) => event));
    let due = events;
    for (let round = 0; due.length > 0; round++) {
      if (round === ROUNDS) throw new Error(`shard ${due[0]?.shard} does not come to rest`);
      const hints = await this.#ledger.hints(due.map(({ shard, event }) => ({ shard, ...event })));
      for (const [i, { event }] of due.entries()) event.hint = hints[i] ?? null;
      const answers = await putAll(this.#hot, due);
      const isDone = (answer: RelationAnswer | Missing | undefined) =>
        typeof answer === "object" && (answer.status === "ok" || answer.status === "decided");
      const again = due.filter((_, i) => !isDone(answers[i]));
      for (const shard of new Set(again.map((each) => each.shard))) await this.#shards.repair(shard);
      due = again;
    }
  }
}
