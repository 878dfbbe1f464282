import type { SketchBoard } from "../distinct/board.ts";
import type { Code } from "../distinct/code.ts";
import { Sketch } from "../distinct/sketch.ts";
import {
  type Distinct,
  distinctOf,
  hasSeen,
  type Pair,
  Sketches,
  type SketchName,
  type StoredPair,
} from "../distinct/sketches.ts";
import { Batcher } from "../lib/batcher.ts";
import { SingleFlight } from "../lib/single-flight.ts";
import { SKETCHES_BYTES_MAX } from "../limits.ts";
import type { Position } from "../ports/log.ts";
import { isAway } from "./away.ts";
import type { SharedLedger } from "./ledger.ts";

/**
 * What a visit decides on may be so old: what others have added meanwhile costs a record too many at worst, and what they have
 * erased is known then.
 */
const VISIT_AGE_MS = 60_000;
/** 6 MB where all of them are dense. */
const SKETCHES_AT_ONCE = 256;

/** Visitors of this node whom the ledger may not have yet: all of them stand in the outbox in front of `end`. */
interface Own {
  all: Sketch;
  /** Since 1970: the one that `today` is of. */
  day: number;
  today: Sketch;
  end: Position;
}

/** What is kept beside a pair. */
interface Beside {
  older: Own | null;
  younger: Own | null;
  /** The pair may lack visitors of this node in front of here, and tells nothing before the ledger has them. */
  readonly lacks: Position;
}

/**
 * The sketches of distinct tallies as one node shows them: what the ledger said last, and this node's own visitors since. The
 * log thread has them.
 *
 *     pair = ledger (all nodes, as of readAtMs) ∪ older own ∪ younger own
 *
 * A reading of the ledger replaces its part rather than adding to it, so that an erased subject's visitors go here too. The
 * own visitors leave by generations: when the ledger has all of the older ones (`applied`, looked at before the ledger is
 * read), the younger ones become the older ones. What is lost when a pair leaves memory the ledger has.
 *
 * Those whom an earlier run has left in the outbox are own visitors too (`inherited`). Until they are here, and where there
 * is no room for somebody, nothing is told that the ledger has not got all of: it would be less than was answered.
 */
export class NodeSketches {
  /** What is asked for at once is one statement. */
  readonly #ledger: Batcher<SketchName & { day: number }, StoredPair>;
  readonly #applied: () => Position;
  readonly #board: SketchBoard;
  readonly #ageMsMax: number;
  readonly #now: () => number;
  readonly #sketches: Sketches;
  readonly #own = new WeakMap<Pair, Beside>();
  readonly #reads = new SingleFlight<string, Pair | null>();
  /** Where the earlier run's records end, until they are here. */
  #inheritsUpTo: Position;
  /** Up to where visitors are logged for whom there was no room. */
  #lostUpTo: Position = 0;

  /** What is shown is at most `ageMsMax` old. */
  constructor(parts: {
    ledger: Pick<SharedLedger, "sketches">;
    applied: () => Position;
    board: SketchBoard;
    ageMsMax: number;
    inheritsUpTo?: Position;
    now?: () => number;
    bytesMax?: number;
  }) {
    const { ledger } = parts;
    this.#ledger = new Batcher((names) => ledger.sketches(names), { itemsMax: SKETCHES_AT_ONCE, flightsMax: 2 });
    this.#applied = parts.applied;
    this.#board = parts.board;
    this.#ageMsMax = parts.ageMsMax;
    this.#inheritsUpTo = parts.inheritsUpTo ?? 0;
    this.#now = parts.now ?? (() => performance.now());
    this.#sketches = new Sketches({ bytesMax: parts.bytesMax ?? SKETCHES_BYTES_MAX, applied: parts.applied });
  }

  /** Sees to it that `visitor` can tell something, where that is possible. */
  async prepare(name: SketchName, day: number): Promise<void> {
    this.#sketches.beginRound();
    const pair = this.#sketches.find(name, day);
    if (pair && pair.readAtMs > 0 && this.#now() - pair.readAtMs < VISIT_AGE_MS) return;
    try {
      await this.#read(name, day);
    } catch (error) {
      if (!isAway(error)) throw error;
      // Without it everybody is new: each is a record once.
      this.#open(name, day);
    }
  }

  /** Whether the visitor is known, and what his register is at least in both sketches (0: one is not dense). */
  visitor(name: SketchName, day: number, code: Code): { isKnown: boolean; rank: number } {
    const pair = this.#sketches.find(name, day);
    if (!pair) return { isKnown: false, rank: 0 };
    return { isKnown: hasSeen(pair, code, day), rank: Math.min(pair.all.rankAt(code), pair.today.rankAt(code)) };
  }

  /** A visitor of `day` stands in the outbox, in front of `end`. `today`: the running day. */
  logged(name: SketchName, today: number, { code, day }: { code: Code; day: number }, end: Position): void {
    // The day may be another one by now.
    const pair = this.#open(name, today);
    if (!pair) {
      this.#lostUpTo = Math.max(this.#lostUpTo, end);
      return;
    }
    const own = this.#beside(pair);
    own.younger ??= { all: new Sketch(), day: today, today: new Sketch(), end };
    if (own.younger.day !== today) Object.assign(own.younger, { day: today, today: new Sketch() });
    own.younger.all.add(code);
    if (day === today) own.younger.today.add(code);
    own.younger.end = Math.max(own.younger.end, end);
    this.#sketches.add(pair, code, day, end);
    this.#sketches.setExtra(pair, bytesOf(own.older) + bytesOf(own.younger));
  }

  /** All that an earlier run had on its way to the ledger was `logged` here. */
  inherited(): void {
    this.#inheritsUpTo = 0;
  }

  /** Null: the ledger is away, or too far behind, and nothing is known. */
  async count(name: SketchName, day: number): Promise<Distinct | null> {
    this.#sketches.beginRound();
    const pair = this.#sketches.find(name, day);
    if (pair && pair.readAtMs > 0 && this.#now() - pair.readAtMs < this.#ageMsMax) return distinctOf(pair);
    try {
      const read = await this.#read(name, day);
      if (read) return read.readAtMs > 0 ? distinctOf(read) : null;
      // No room: asked for this once.
      const isWhole = this.#applied() >= Math.max(this.#inheritsUpTo, this.#lostUpTo);
      const { today, all } = await this.#ledger.submit({ ...name, day });
      if (!isWhole) return null;
      return distinctOf({ today: today ?? new Sketch(), all: all ?? new Sketch() });
    } catch (error) {
      if (!isAway(error)) throw error;
      const known = this.#sketches.find(name, day);
      return known && known.readAtMs > 0 ? distinctOf(known) : null;
    }
  }

  /** The pair with what the ledger says now; null where there is no room for it. */
  #read(name: SketchName, day: number): Promise<Pair | null> {
    return this.#reads.do(`${name.metric} ${day} ${name.subject}`, async () => {
      const applied = this.#applied();
      const inheritsUpTo = this.#inheritsUpTo;
      const askedMs = this.#now();
      const stored = await this.#ledger.submit({ ...name, day });
      const here = this.#open(name, day);
      if (!here) return null;
      this.#take(here, stored, applied);
      here.readAtMs = applied >= Math.max(inheritsUpTo, this.#beside(here).lacks) ? askedMs : 0;
      return here;
    });
  }

  /** The pair, which has whoever is logged from here on; null where there is no room for it. */
  #open(name: SketchName, day: number): Pair | null {
    const pair = this.#sketches.find(name, day) ?? this.#sketches.install(name, day, { today: null, all: null });
    if (pair) this.#beside(pair);
    return pair;
  }

  #beside(pair: Pair): Beside {
    let own = this.#own.get(pair);
    if (!own) {
      own = { older: null, younger: null, lacks: this.#lostUpTo };
      this.#own.set(pair, own);
    }
    return own;
  }

  #take(pair: Pair, stored: StoredPair, applied: Position): void {
    const before = pair.all;
    const today = stored.today ?? new Sketch();
    const all = stored.all ?? new Sketch();
    const own = this.#beside(pair);
    if (own.older === null || own.older.end <= applied) {
      own.older = own.younger !== null && own.younger.end > applied ? own.younger : null;
      own.younger = null;
    }
    for (const each of [own.older, own.younger]) {
      if (!each) continue;
      all.merge(each.all);
      if (each.day === pair.day) today.merge(each.today);
    }
    this.#sketches.setExtra(pair, bytesOf(own.older) + bytesOf(own.younger));
    this.#sketches.replace(pair, { today, all });
    this.#board.tell(this.#sketches);
    // Somebody who was in it is not any more: the subject was erased, and nobody may be taken for known.
    for (const code of before.codes()) {
      if (all.has(code)) continue;
      this.#board.beginEpoch();
      break;
    }
  }
}

function bytesOf(own: Own | null): number {
  return own ? own.all.bytes + own.today.bytes + 100 : 0;
}
