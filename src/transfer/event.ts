import { isTooFarAhead, type Stamp } from "../arithmetic/stamp.ts";
import type { Code } from "../distinct/code.ts";
import { type Actor, idProblem, type Metric, type Subject, subjectProblem, typeOf } from "../model.ts";
import { UNKNOWN_HOUR_S } from "./steps.ts";
import { type Moment, stampOfMoment } from "./times.ts";

/** What one line of an input says: steps of a tally, or one act on a relation. */
export interface ImportEvent {
  line: number;
  metric: Metric;
  subject: Subject;
  /** Of a tally: first second of the hour and amount. */
  steps: readonly [at: number, amount: number][];
  /** Empty: of a tally. */
  actor: Actor;
  stamp: Stamp;
  /** Of a tally: visitors that its sketch has seen. */
  visitors?: readonly Code[];
}

/** What lines are read against. */
export interface Reading {
  metrics: readonly Metric[];
  /** Subject types that may be; null: any. */
  types: readonly string[] | null;
  /** For lines without a time. */
  at: Moment | null;
  nowMs: number;
}

/** A line that says nothing that can be done; `field` is what is wrong in it. */
export class BadField extends Error {
  readonly field: string;

  constructor(field: string, message: string) {
    super(message);
    this.field = field;
  }
}

const HOUR_MS = 3_600_000;
const UNKNOWN: Moment = { ms: UNKNOWN_HOUR_S * 1000, counter: 0 };

/** Fields of lines as events, checked. */
export class EventMaker {
  readonly #reading: Reading;
  readonly #byName: ReadonlyMap<string, Metric>;

  constructor(reading: Reading) {
    this.#reading = reading;
    this.#byName = new Map(reading.metrics.map((metric) => [metric.name, metric]));
  }

  metric(name: string): Metric {
    const metric = this.#byName.get(name);
    if (metric) return metric;
    const known = [...this.#byName.keys()].join(", ");
    throw new BadField("metric", `${JSON.stringify(name)} is not configured here; there are: ${known}`);
  }

  subject(subject: string): Subject {
    const problem = subjectProblem(subject);
    if (problem) throw new BadField("subject", problem);
    const { types } = this.#reading;
    if (types && !types.includes(typeOf(subject)))
      throw new BadField("subject", `its type is not configured here; there are: ${types.join(", ")}`);
    return subject;
  }

  /** A count of one moment. */
  tally(line: number, metric: Metric, subject: string, count: number, at: Moment | null): ImportEvent {
    const { ms } = this.#known(at, false);
    const hour = Math.floor(ms / HOUR_MS) * (HOUR_MS / 1000);
    return this.steps(line, metric, subject, count === 0 ? [] : [[hour, count]]);
  }

  /** Counts of hours. */
  steps(line: number, metric: Metric, subject: string, steps: ImportEvent["steps"]): ImportEvent {
    if (metric.kind !== "tally") throw new BadField("metric", `${metric.name} is a relation: it takes an actor`);
    return { line, metric, subject: this.subject(subject), steps, actor: "", stamp: 0 };
  }

  relation(
    line: number,
    metric: Metric,
    subject: string,
    { actor, active, at }: { actor: string | undefined; active: boolean; at: Moment | null },
  ): ImportEvent {
    if (actor === undefined) throw new BadField("actor", `is missing: ${metric.name} is a relation`);
    const problem = actor === "me" ? "must not be `me`, which stands for the caller" : idProblem(actor);
    if (problem) throw new BadField("actor", problem);
    const moment = this.#known(at, active);
    const stamp = stampOfMoment(moment, active) as Stamp;
    return { line, metric, subject: this.subject(subject), steps: [], actor, stamp };
  }

  /** Without a time of its own it is that of the command line, or before all that is known. */
  #known(given: Moment | null, active: boolean): Moment {
    const at = given ?? this.#reading.at ?? UNKNOWN;
    const stamp = stampOfMoment(at, active);
    if (stamp === undefined) throw new BadField("at", "must be from 2000-01-01 on");
    if (isTooFarAhead(stamp, this.#reading.nowMs)) throw new BadField("at", "must not be ahead of the clock");
    return at;
  }
}
