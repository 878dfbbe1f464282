import { dayOf } from "../arithmetic/days.ts";
import type { SketchBoard } from "../distinct/board.ts";
import type { Code } from "../distinct/code.ts";
import type { Sketch } from "../distinct/sketch.ts";
import { ALL_TIME, type Distinct, distinctOf, hasSeen, type Pair, Sketches } from "../distinct/sketches.ts";
import { wallMs } from "../lib/fault.ts";
import { SKETCHES_BYTES_MAX } from "../limits.ts";
import type { Position } from "../ports/log.ts";
import type { VisitorRecord } from "../records.ts";

/** What the writer asks of the ledger. */
interface SketchLedger {
  sketch(metric: number, subject: string, day: number): Sketch | null;
}

/** A visit between its decision and its answer. */
export interface Visit {
  readonly pair: Pair;
  readonly code: Code;
  readonly atMs: number;
  /** Whether it changes a sketch, and therefore stands in the log. */
  readonly isNew: boolean;
}

/**
 * The sketches of distinct tallies, which belong to the writer: request threads send it visitors they do not know to be in
 * there. One who changes a sketch is a record; he is in the sketch when that is on the disk, and his caller is answered
 * when he is in the sketch. So an answer is never ahead of what a crash leaves, and every later read has it.
 *
 * Two visits of one visitor in one batch are two records: the second changes nothing, in memory and in the ledger.
 */
export class Visits {
  readonly #ledger: SketchLedger;
  readonly #sketches: Sketches;
  readonly #now: () => number;
  readonly #board: SketchBoard;
  /** Those that have sketches. */
  readonly #metrics = new Set<number>();

  constructor(parts: {
    ledger: SketchLedger;
    applied: () => Position;
    board: SketchBoard;
    now?: () => number;
    bytesMax?: number;
  }) {
    this.#ledger = parts.ledger;
    this.#sketches = new Sketches({ bytesMax: parts.bytesMax ?? SKETCHES_BYTES_MAX, applied: parts.applied });
    this.#now = parts.now ?? wallMs;
    this.#board = parts.board;
  }

  /** What a batch decides on stays in memory until the next one begins. */
  begin(): void {
    this.#sketches.beginRound();
    this.#board.tell(this.#sketches);
  }

  /** Null where there is no room for its sketches. `atMs`: when he came, if not now. */
  decide(metric: number, subject: string, code: Code, atMs = this.#now()): Visit | null {
    const pair = this.#open(metric, subject, dayOf(this.#now()));
    return pair && { pair, code, atMs, isNew: !hasSeen(pair, code, dayOf(atMs)) };
  }

  /** Its record, but for its numbers. */
  record({ pair, code, atMs }: Visit): Omit<VisitorRecord, "shard" | "n"> {
    return { kind: "visitor", ...pair.name, code, atMs };
  }

  /** Its record is on the disk, in front of `end`. */
  publish({ pair, code, atMs, isNew }: Visit, end: Position): void {
    if (isNew) this.#sketches.add(pair, code, dayOf(atMs), end);
  }

  /** How many there were; null where there is no room to look. */
  count(metric: number, subject: string): Distinct | null {
    const pair = this.#open(metric, subject, dayOf(this.#now()));
    return pair && distinctOf(pair);
  }

  /**
   * The subject's sketches become others, by a job that is in the log. Nobody may ask for them until the ledger has it, and
   * nobody may go on knowing who was in them.
   */
  forget(subject: string): void {
    for (const metric of this.#metrics) this.#sketches.forget({ metric, subject });
    this.#board.beginEpoch();
  }

  #open(metric: number, subject: string, day: number): Pair | null {
    const name = { metric, subject };
    const pair = this.#sketches.find(name, day);
    if (pair) return pair;
    this.#metrics.add(metric);
    const today = this.#ledger.sketch(metric, subject, day);
    return this.#sketches.install(name, day, { today, all: this.#ledger.sketch(metric, subject, ALL_TIME) });
  }
}

/** What the visitor's register is at least in both sketches; 0 where one is not dense. */
export function rankIn({ pair, code }: Visit): number {
  return Math.min(pair.all.rankAt(code), pair.today.rankAt(code));
}
