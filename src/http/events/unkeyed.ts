import { typeOf } from "../../model.ts";
import type { Counting } from "../../ports/counting.ts";
import type { RequestStats } from "../../telemetry/requests.ts";
import type { Rules, Visit } from "../rules.ts";
import { codeFor } from "../visitor.ts";
import { BodyActs } from "./acts.ts";
import type { BulkEvent, EventCheck, RelationEvent, TallyEvent } from "./event.ts";
import type { EventFormat } from "./format.ts";
import type { LineTaker } from "./line-reader.ts";
import { lineText } from "./line-text.ts";
import type { EventReport } from "./report.ts";
import type { Scanner } from "./scan.ts";

const NEWLINE = 0x0a;
/** Metric ids are 1–255. */
const METRICS = 256;

/**
 * Bytes of garbage, about, that a line leaves which is read in full, and one whose counter is asked for by name (as one with
 * a long id is). Where garbage was counted by chunks alone, bodies of 256 MiB made the server grow by 300 MiB, and those with a
 * key by 1.4 GB.
 */
export const LINE_LITTER = 1_000;
const COLD_LITTER = 200;

/** A tally of which the table knows nothing yet, or has no room for. */
interface Cold {
  metric: number;
  subject: string;
  by: number;
  line: number;
}

export interface EventParts {
  format: EventFormat;
  check: EventCheck;
  counting: Counting;
  rules: Rules;
  /** Who sends the body: all its lines are of this visitor, unless they name an actor. */
  visit: Visit;
  stats: RequestStats;
  report: EventReport;
  /** So many bytes of garbage were made, about. */
  litter(bytes: number): void;
}

/**
 * The lines of a body without a key: each counts as a single act would, as soon as it is read.
 *
 * Usual lines of tallies are taken in a row, inside one pair of the table's brackets for each slice; a line of any other
 * kind ends the row and is read in full. Tallies know no order. Acts on relations are under way together; those on one
 * register keep the order of their lines.
 */
export class UnkeyedEvents implements LineTaker {
  readonly #parts: EventParts;
  readonly #report: EventReport;
  readonly #scanner: Scanner;
  readonly #acts = new BodyActs();
  readonly #counted = new Float64Array(METRICS);
  readonly #cold: Cold[] = [];
  #bytes = new Uint8Array(0) as Uint8Array;
  /** The same, to make strings of: one view for all of them. */
  #text = textOf(this.#bytes);
  #line = 0;

  constructor(parts: EventParts) {
    this.#parts = parts;
    this.#report = parts.report;
    this.#scanner = parts.format.scanner();
  }

  async lines(bytes: Uint8Array, from: number, to: number): Promise<void> {
    this.#bytes = bytes;
    this.#text = textOf(bytes);
    let litter = 0;
    for (let at = from; at < to; ) {
      at = this.#row(at, to);
      litter += COLD_LITTER * this.#cold.length;
      if (this.#cold.length > 0) await this.#addCold();
      if (at === to) break;
      litter += LINE_LITTER;
      const end = bytes.indexOf(NEWLINE, at) + 1;
      const later = this.#one(at, end);
      if (later) await later;
      at = end;
    }
    this.#tellStats();
    this.#parts.litter(litter);
  }

  tooLong(): void {
    this.#report.reject(++this.#line, "the line is too long");
  }

  async end(): Promise<void> {
    await this.#acts.settle();
    this.#tellStats();
    // Whoever adds here asks for no count, and so does not find out.
    if (this.#report.accepted > 0 && !this.#parts.counting.bulk.isShown) this.#report.isLater = true;
  }

  /** The body broke off: what is under way is waited for. */
  async cut(): Promise<void> {
    await this.end();
  }

  /** Counts as many usual lines as follow each other; where the first other one begins. */
  #row(from: number, to: number): number {
    const { adds } = this.#parts.counting.bulk;
    const scanner = this.#scanner;
    const first = this.#line;
    let at = from;
    scanner.begin(this.#bytes);
    adds.enter();
    try {
      adds.begin(this.#bytes);
      while (at < to) {
        const next = scanner.next(at, to);
        if (next === at) break;
        if (adds.isFull) adds.flush(this.#left);
        adds.put(scanner.metric, scanner.from, scanner.to, scanner.by, ++this.#line);
        this.#counted[scanner.metric] = (this.#counted[scanner.metric] as number) + scanner.by;
        at = next;
      }
      adds.flush(this.#left);
    } finally {
      adds.leave();
    }
    this.#report.accepted += this.#line - first - this.#cold.length;
    return at;
  }

  readonly #left = (metric: number, from: number, to: number, by: number, line: number): void => {
    const subject = this.#text.latin1Slice(from, to);
    this.#cold.push({ metric, subject, by, line });
    this.#counted[metric] = (this.#counted[metric] as number) - by;
  };

  async #addCold(): Promise<void> {
    for (const { metric, subject, by, line } of this.#cold) {
      try {
        const later = this.#parts.counting.bulk.add(metric, subject, by);
        if (later) await later;
        this.#accept(metric, by);
      } catch (error) {
        this.#report.refuse(line, error);
      }
    }
    this.#cold.length = 0;
  }

  /** Any line. */
  #one(from: number, to: number): void | Promise<void> {
    const line = ++this.#line;
    let event: BulkEvent;
    try {
      const text = lineText(this.#bytes, from, to);
      if (text === "") return;
      event = this.#parts.check.event(this.#parts.format.parse(text));
    } catch (error) {
      return this.#report.refuse(line, error);
    }
    return event.kind === "tally" ? this.#tally(event, line) : this.#relation(event, line);
  }

  #tally(event: TallyEvent, line: number): void | Promise<void> {
    const { metric, subject, by, at } = event;
    if (this.#parts.check.isPlain(metric)) this.#scanner.learn(metric, typeOf(subject));
    if (at !== undefined) {
      return this.#acts.do(`at ${line}`, async () => {
        try {
          const visitor = await codeFor(metric, event);
          const count = await this.#parts.counting.addOnce(metric, subject, by, undefined, at, visitor);
          this.#accept(metric.id, by, count === null);
        } catch (error) {
          this.#report.refuse(line, error);
        }
      });
    }
    if (this.#parts.rules.has(metric) || metric.distinct === true) return this.#visit(event, line);
    try {
      const later = this.#parts.counting.bulk.add(metric.id, subject, by);
      if (!later) return this.#accept(metric.id, by);
      return later.then(
        () => this.#accept(metric.id, by),
        (error: unknown) => this.#report.refuse(line, error),
      );
    } catch (error) {
      this.#report.refuse(line, error);
    }
  }

  /** A line that is left out is taken all the same: there is nothing wrong with it. */
  #visit(event: TallyEvent, line: number): Promise<void> {
    const { metric, subject, by, actor } = event;
    const { rules, visit, stats, counting } = this.#parts;
    // Sketches know no order.
    const turn = rules.has(metric) ? `${metric.id} ${subject}` : `visit ${line}`;
    return this.#acts.do(turn, async () => {
      try {
        const verdict = await rules.judge(metric, visit, { subject, actor });
        if (verdict.reason !== null) {
          stats.leftOut(metric.id, verdict.reason, by);
          this.#report.accepted++;
          return;
        }
        try {
          const visitor = await codeFor(metric, event, () => rules.nameOf(visit));
          if (visitor !== undefined) await counting.visit(metric, subject, visitor);
          await counting.bulk.add(metric.id, subject, by);
        } catch (error) {
          verdict.release();
          throw error;
        }
        this.#accept(metric.id, by);
      } catch (error) {
        this.#report.refuse(line, error);
      }
    });
  }

  #relation({ metric, subject, actor, active, at }: RelationEvent, line: number): Promise<void> {
    return this.#acts.do(`${metric.id} ${subject}\n${actor}`, async () => {
      try {
        const { count } = await this.#parts.counting.relate(metric, subject, actor, active, undefined, at);
        this.#accept(metric.id, 1, count === null);
      } catch (error) {
        this.#report.refuse(line, error);
      }
    });
  }

  #accept(metric: number, events: number, isLater = false): void {
    this.#report.accepted++;
    this.#counted[metric] = (this.#counted[metric] as number) + events;
    if (isLater) this.#report.isLater = true;
  }

  #tellStats(): void {
    for (let metric = 1; metric < METRICS; metric++) {
      const events = this.#counted[metric] as number;
      if (events !== 0) this.#parts.stats.counted(metric, events);
    }
    this.#counted.fill(0);
  }
}

export function textOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}
