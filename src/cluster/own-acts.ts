import type { Stamp } from "../arithmetic/stamp.ts";
import { OWN_ACTS_BYTES, OWN_ACTS_LISTED, OWN_ACTS_MAX } from "../limits.ts";
import type { CountName } from "../ports/hot-store.ts";
import type { LogReader, Position } from "../ports/log.ts";
import { frameSource, type LogRecord, readFrame } from "../records.ts";
import { isActs } from "./log-data.ts";
import type { OutboxIndex } from "./outbox-index.ts";

/** Acts on a metric: on a subject, of an actor, or both. */
export interface OwnQuestion {
  metric: number;
  subject?: string;
  actor?: string;
}

/** An act that this node has logged and the ledger did not have when it was looked at last. */
export interface OwnAct {
  source: string;
  shard: number;
  n: number;
  metric: number;
  subject: string;
  /** Empty: a tally that grew by `amount`. */
  actor: string;
  stamp: Stamp;
  amount: number;
  /** Whose ledger counts it once, though it may be in the log several times. */
  key: string | null;
}

/** A stretch of the outbox, read. */
interface Stretch {
  end: Position;
  acts: number;
  /** In the order of the log. */
  onSubject: Map<string, OwnAct[]>;
  ofActor: Map<string, OwnAct[]>;
}

const READ_BYTES = 1024 * 1024;
/** A stretch leaves when the ledger has all of it, or there are too many acts. */
const STRETCH_ACTS = OWN_ACTS_MAX / 10;

/**
 * What this node has logged and the ledger has not, to be shown while Redis, which has everybody's, cannot be asked. It is
 * read from the outbox when it is asked for first, and goes on from there; who does not need it any more says `forget`.
 *
 * Only the newest: of an outbox that waits for Kafka for hours most would fit into no memory.
 */
export class OwnActs {
  readonly #outbox: LogReader;
  readonly #index: OutboxIndex;
  /** Up to where the outbox is durable: what is behind it a power cut may take back. */
  #durable: Position;
  #stretches: Stretch[] = [];
  #at: Position = 0;

  constructor(parts: { outbox: LogReader; index: OutboxIndex; durable: Position }) {
    this.#outbox = parts.outbox;
    this.#index = parts.index;
    this.#durable = parts.durable;
  }

  durable(end: Position): void {
    this.#durable = Math.max(this.#durable, end);
  }

  get durableUpTo(): Position {
    return this.#durable;
  }

  /** Of each register the newest one, and every one of a tally, newest first; of too many none of the oldest. */
  find({ metric, subject, actor }: OwnQuestion): OwnAct[] {
    this.#catchUp();
    const found = new Map<string, OwnAct>();
    for (const { onSubject, ofActor } of this.#stretches.toReversed()) {
      const acts =
        actor !== undefined ? ofActor.get(nameOf(metric, actor)) : onSubject.get(nameOf(metric, subject ?? ""));
      for (const act of acts?.toReversed() ?? []) {
        if (found.size === OWN_ACTS_LISTED) return [...found.values()];
        if ((subject !== undefined && act.subject !== subject) || this.#isDecided(act)) continue;
        const name = act.actor === "" ? numberOf(act) : `${act.subject}\n${act.actor}`;
        const newer = found.get(name);
        if (!newer || act.stamp > newer.stamp) found.set(name, act);
      }
    }
    return [...found.values()];
  }

  /** The counts that acts are about, each once. */
  counts(): CountName[] {
    this.#catchUp();
    const found = new Map<string, CountName>();
    for (const { onSubject } of this.#stretches) {
      for (const [name, acts] of onSubject) {
        const act = found.has(name) ? undefined : acts.find((each) => !this.#isDecided(each));
        if (act) found.set(name, { metric: act.metric, subject: act.subject });
      }
    }
    return [...found.values()];
  }

  /** Acts in memory. */
  get size(): number {
    return this.#stretches.reduce((sum, { acts }) => sum + acts, 0);
  }

  forget(): void {
    this.#stretches = [];
    this.#at = 0;
  }

  #isDecided({ source, shard, n }: OwnAct): boolean {
    return this.#index.isDecided(source, shard, n);
  }

  #catchUp(): void {
    const from = this.#index.tail(OWN_ACTS_BYTES);
    this.#stretches = this.#stretches.filter(({ end }) => end > from);
    this.#at = Math.max(this.#at, from);
    while (this.#at < this.#durable) {
      const began = this.#at;
      for (const { bytes, next } of this.#outbox.read(began, READ_BYTES)) {
        if (next > this.#durable) break;
        this.#at = next;
        if (isActs(frameSource(bytes))) this.#take(bytes, next);
      }
      if (this.#at === began) break;
    }
    while (this.size > OWN_ACTS_MAX) this.#stretches.shift();
  }

  #take(bytes: Buffer, end: Position): void {
    const { source, records } = readFrame(bytes);
    const stretch = this.#lastStretch();
    stretch.end = end;
    for (const record of records) {
      const act = actOf(source, record);
      if (!act || this.#isDecided(act)) continue;
      stretch.acts++;
      add(stretch.onSubject, nameOf(act.metric, act.subject), act);
      if (act.actor !== "") add(stretch.ofActor, nameOf(act.metric, act.actor), act);
    }
  }

  #lastStretch(): Stretch {
    const last = this.#stretches.at(-1);
    if (last && last.acts < STRETCH_ACTS) return last;
    const next: Stretch = { end: 0, acts: 0, onSubject: new Map(), ofActor: new Map() };
    this.#stretches.push(next);
    return next;
  }
}

function actOf(source: string, record: LogRecord): OwnAct | null {
  if (record.kind !== "relation" && record.kind !== "tally") return null;
  const { shard, n, metric, subject } = record;
  const about = { source, shard, n, metric, subject, key: record.once?.key ?? null };
  if (record.kind === "relation") return { ...about, actor: record.actor, stamp: record.stamp, amount: 0 };
  return { ...about, actor: "", stamp: 0, amount: record.amount };
}

/** A body that is sent again is logged again under the same numbers, and counts once. */
function numberOf({ source, shard, n }: OwnAct): string {
  return `${source} ${shard} ${n}`;
}

function add(map: Map<string, OwnAct[]>, name: string, act: OwnAct): void {
  const acts = map.get(name);
  if (acts) acts.push(act);
  else map.set(name, [act]);
}

function nameOf(metric: number, id: string): string {
  return `${metric} ${id}`;
}
