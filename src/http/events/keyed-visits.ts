import type { NumberedEvent } from "../../ports/bulk.ts";
import type { LeftOutReason } from "../../telemetry/requests.ts";
import { codeFor } from "../visitor.ts";
import { BodyActs } from "./acts.ts";
import type { TallyEvent } from "./event.ts";
import type { EventParts } from "./unkeyed.ts";

/** A line that rules or sketches have a say in, with its event, which is to be logged after that. */
export interface LineVisit {
  event: TallyEvent;
  numbered: NumberedEvent;
  line: number;
}

interface LeftOut {
  reason: LeftOutReason;
  by: number;
}

/**
 * The visitors of a body with a key, whose lines may come again: after a crash, from another address, on another day.
 *
 * A line that is in the log is not asked about again: its repeat would take a turn that is somebody's by then, and
 * name a stranger otherwise than the first time. Between the visit and the log it can break off, and then the repeat
 * asks again. So a claim is the line's, of this body: it finds its own, and keeps the visitor's other lines out as
 * before. Sketches take whoever comes twice once.
 */
export class KeyedVisits {
  readonly #parts: EventParts;
  readonly #body: string;

  /** `body` names it: the next one with its key, once that is free again, is another one and has other lines. */
  constructor(parts: EventParts, body: string) {
    this.#parts = parts;
    this.#body = body;
  }

  /** A line that rules leave out is taken all the same, and counts nothing. Throws where one could not be asked about. */
  async make(visits: readonly LineVisit[]): Promise<LeftOut[]> {
    const acts = new BodyActs();
    const leftOut: LeftOut[] = [];
    for (const visit of visits) {
      const { metric, subject, actor } = visit.event;
      // One visitor's lines keep their order: the first one counts, whenever they are sent.
      await acts.do(`${metric.id} ${subject}\n${actor ?? ""}`, () => this.#one(visit, leftOut));
    }
    await acts.settle();
    return leftOut;
  }

  async #one({ event, numbered, line }: LineVisit, leftOut: LeftOut[]): Promise<void> {
    const { metric, subject, by, actor, at } = event;
    const { rules, visit, counting } = this.#parts;
    if (at === undefined) {
      const verdict = await rules.judge(metric, visit, { subject, actor, line: `${this.#body} ${line}` });
      if (verdict.reason !== null) {
        leftOut.push({ reason: verdict.reason, by });
        numbered.by = 0;
        return;
      }
    }
    const visitor = await codeFor(metric, event, () => rules.nameOf(visit));
    if (visitor === undefined) return;
    if (at === undefined) await counting.visit(metric, subject, visitor);
    else await counting.addOnce(metric, subject, 0, undefined, at, visitor);
  }
}
