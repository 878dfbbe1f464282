import { dayOf } from "../arithmetic/days.ts";
import { shardOf } from "../arithmetic/shard-of.ts";
import { SketchBoard } from "../distinct/board.ts";
import type { Code } from "../distinct/code.ts";
import type { Distinct } from "../distinct/sketches.ts";
import { wallMs } from "../lib/fault.ts";
import { othersTurn } from "../lib/slices.ts";
import type { LogReader, Position } from "../ports/log.ts";
import { inheritedVisitors } from "./inherited.ts";
import type { SharedLedger } from "./ledger.ts";
import type { LogData } from "./log-data.ts";
import { type Act, type ActAnswer, isLogged, type Visit } from "./messages.ts";
import { NodeSketches } from "./node-sketches.ts";
import type { OutboxIndex } from "./outbox-index.ts";

/** Appends acts to the outbox; resolves when they are durable. Null for one that was refused. */
type LogActs = (acts: Act[]) => Promise<ActAnswer[]>;

interface VisitParts {
  ledger: Pick<SharedLedger, "sketches">;
  outbox: LogReader;
  index: OutboxIndex;
  /** Where the last visitor ends whom an earlier run left in the outbox, 0: there is none. */
  inheritsUpTo: Position;
  log: LogActs;
}

/**
 * The log thread's answers about distinct tallies. A visitor who changes a sketch, as far as this node knows, is a record in
 * the log like any act; when he is durable he is in the node's sketches, and then his caller is answered.
 */
export class VisitDesk {
  readonly #sketches: NodeSketches;
  readonly #parts: VisitParts;
  #isInherited = false;

  constructor(data: Pick<LogData, "settings" | "sketches">, parts: VisitParts) {
    const { ledger, index, inheritsUpTo } = parts;
    this.#sketches = new NodeSketches({
      ledger,
      applied: () => index.applied,
      board: new SketchBoard(data.sketches),
      ageMsMax: data.settings.flushMs,
      inheritsUpTo,
    });
    this.#parts = parts;
  }

  /**
   * Whom an earlier run has answered, and left on his way to the ledger, is in the sketches from here on. The ledger must
   * just have been asked what it has: of a subject that was erased meanwhile the outbox still holds everybody.
   */
  async inherit(): Promise<void> {
    if (this.#isInherited) return;
    const { outbox, index, inheritsUpTo } = this.#parts;
    for (const visitors of inheritedVisitors(outbox, index, inheritsUpTo)) {
      const today = dayOf(wallMs());
      for (const { record, end } of visitors) {
        const { code, atMs } = record;
        this.#sketches.logged(nameOf(record), today, { code, day: dayOf(atMs) }, end);
      }
      // What an outage of hours has left takes a while, and others are waiting.
      await othersTurn();
    }
    this.#sketches.inherited();
    this.#isInherited = true;
  }

  /** For each what his register is at least in both sketches, 0 where one is not dense, null where he was refused. */
  async visits(visits: readonly Visit[]): Promise<(number | null)[]> {
    const day = dayOf(wallMs());
    const names = new Map(visits.map((visit) => [`${visit.metric} ${visit.subject}`, visit]));
    await Promise.all(Array.from(names.values(), (name) => this.#sketches.prepare(nameOf(name), day)));
    const news = visits.filter((visit) => !this.#sketches.visitor(nameOf(visit), day, visit.code).isKnown);
    if (news.length > 0) {
      const logged = await this.#parts.log(news.map(actOf));
      const refused = new Set(news.filter((_, i) => !isLogged(logged[i])));
      if (refused.size > 0) return visits.map((visit) => (refused.has(visit) ? null : 0));
    }
    return visits.map((visit) => this.#sketches.visitor(nameOf(visit), day, visit.code).rank);
  }

  /** Acts that stand in the outbox now, in front of `end`; those that bring no time as of `atMs`, which may be yesterday. */
  logged(acts: readonly Act[], logged: readonly ActAnswer[], { end, atMs }: { end: Position; atMs: number }): void {
    const today = dayOf(wallMs());
    for (const [i, act] of acts.entries()) {
      if (act.visitor === null || !isLogged(logged[i])) continue;
      const visit: { code: Code; day: number } = { code: act.visitor, day: dayOf(act.atMs ?? atMs) };
      this.#sketches.logged(nameOf(act), today, visit, end);
    }
  }

  distinct(metric: number, subject: string): Promise<Distinct | null> {
    return this.#sketches.count({ metric, subject }, dayOf(wallMs()));
  }
}

function nameOf({ metric, subject }: { metric: number; subject: string }): { metric: number; subject: string } {
  return { metric, subject };
}

function actOf({ metric, subject, code }: Visit): Act {
  const none = { actor: "", active: false, by: 0, seen: null, isKept: false, once: null, atMs: null };
  return { shard: shardOf(subject), metric, subject, visitor: code, ...none };
}
