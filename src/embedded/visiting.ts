import { dayOf } from "../arithmetic/days.ts";
import type { SketchBoard } from "../distinct/board.ts";
import type { Code } from "../distinct/code.ts";
import { Known } from "../distinct/known.ts";
import type { Distinct } from "../distinct/sketches.ts";
import { wallMs } from "../lib/fault.ts";
import type { Subject } from "../model.ts";
import { VISIT, VISITORS } from "./acts.ts";

/** What the writer is asked, with what it answers. */
export type AskWriter = (act: {
  kind: typeof VISIT | typeof VISITORS;
  metric: number;
  subject: Subject;
  actor: string;
}) => Promise<{ count: number; stamp: number }>;

/** A request thread's way to the sketches, which are the writer's. */
export class Visiting {
  readonly #known: Known;
  readonly #ask: AskWriter;

  constructor(parts: { board: SketchBoard; ask: AskWriter }) {
    this.#known = new Known(parts.board);
    this.#ask = parts.ask;
  }

  /** Those who are known to be in the sketches, nearly all of a page that many see, cost no way to the writer. */
  visit(metric: number, subject: Subject, code: Code): undefined | Promise<undefined> {
    const visit = { metric, day: dayOf(wallMs()), subject, code, epoch: this.#known.epoch };
    if (this.#known.has(visit)) return undefined;
    return this.#ask({ kind: VISIT, metric, subject, actor: String(code) }).then(({ count: rank }) =>
      this.#known.note(visit, rank),
    );
  }

  count(metric: number, subject: Subject): Promise<Distinct> {
    const asked = this.#ask({ kind: VISITORS, metric, subject, actor: "" });
    return asked.then(({ count, stamp }) => ({ today: count, all: stamp }));
  }
}
