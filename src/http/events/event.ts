import { hasStamp } from "../../arithmetic/stamp.ts";
import { badInput, Problem } from "../../errors.ts";
import { type Actor, type Metric, type Subject, subjectProblem } from "../../model.ts";
import { type Caller, rankOf } from "../access.ts";
import { actorOf, type Catalog } from "../catalog.ts";
import { allowAt, momentProblem } from "../moment.ts";

/** What a line says, as it stands there: fields that a line lacks are undefined. */
export interface RawEvent {
  metric: string;
  subject: string;
  /** A line of text, which has no place for an actor. */
  isText?: true;
  by?: number | undefined;
  actor?: string | undefined;
  active?: boolean | undefined;
  /** Milliseconds since 1970. */
  at?: number | undefined;
}

/** One event, checked. */
export type BulkEvent = TallyEvent | RelationEvent;

export interface TallyEvent {
  kind: "tally";
  metric: Metric;
  subject: Subject;
  by: number;
  actor: Actor | null;
  at: number | undefined;
}

export interface RelationEvent {
  kind: "relation";
  metric: Metric;
  subject: Subject;
  actor: Actor;
  active: boolean;
  at: number | undefined;
}

/** A line is refused for what is so now, and only this line: it may be taken when it comes again. */
export class NotNow extends Problem {}

const COUNT = rankOf("count");
const WRITE = rankOf("write");

/** Makes events of what lines say, for one caller; throws the Problem whose detail is the line's message. */
export class EventCheck {
  readonly #catalog: Catalog;
  readonly #caller: Caller;

  constructor(catalog: Catalog, caller: Caller) {
    this.#catalog = catalog;
    this.#caller = caller;
  }

  event(raw: RawEvent): BulkEvent {
    const event = this.#inItself(raw);
    this.#now(event);
    return event;
  }

  /** What is wrong with the line, or with all lines of its metric. */
  #inItself({ metric: name, subject, isText, by, actor, active, at }: RawEvent): BulkEvent {
    const metric = this.#catalog.metric(name);
    const problem = subjectProblem(subject) ?? (at !== undefined && !hasStamp(at) ? momentProblem(at, at) : null);
    if (problem) throw badInput(subjectProblem(subject) ? "/subject" : "/at", problem);
    allowAt(at, this.#caller);
    if (metric.kind === "tally") {
      if (active !== undefined) throw wrongKind("/active", `${name} is a tally, which has no active`);
      const own = actor === undefined ? this.#caller.actor : this.#tallyActor(actor);
      return { kind: "tally", metric, subject, by: by ?? 1, actor: own, at };
    }
    if (isText)
      throw new Problem("wrong-kind", `${name} is a relation: its acts come as NDJSON, which names the actor`);
    if (by !== undefined) throw wrongKind("/by", `${name} is a relation, which has no by`);
    if (actor === undefined) throw wrongKind("/actor", `${name} is a relation: its lines name an actor`);
    return { kind: "relation", metric, subject, actor: this.#relationActor(actor), active: active ?? true, at };
  }

  /** What may be otherwise when the line comes again. */
  #now({ subject, at }: BulkEvent): void {
    const problem = at === undefined ? null : momentProblem(at, Date.now());
    if (problem) throw new NotNow("bad-input", `/at: ${problem}`);
    try {
      this.#catalog.knowTypesOf([subject]);
    } catch (error) {
      throw error instanceof Problem ? new NotNow(error.code, error.message) : error;
    }
  }

  metric(name: string): Metric {
    return this.#catalog.metric(name);
  }

  /** One that was found by its name before. */
  metricOf(id: number): Metric {
    const metric = this.#catalog.all.find((each) => each.id === id);
    if (!metric) throw new Error(`no metric ${id}`);
    return metric;
  }

  /** Whether nothing of a tally's line but metric, subject and amount has any say: then it needs no look of its own. */
  isPlain(metric: Metric): boolean {
    return metric.kind === "tally" && this.#caller.rank >= COUNT && !hasRules(metric);
  }

  #tallyActor(raw: string): Actor {
    const actor = actorOf(raw, this.#caller, "/actor");
    if (this.#caller.actor !== null && actor !== this.#caller.actor) throw notOwn();
    return actor;
  }

  #relationActor(raw: string): Actor {
    const actor = actorOf(raw, this.#caller, "/actor");
    if (this.#caller.actor !== null) {
      if (actor !== this.#caller.actor) throw notOwn();
    } else if (this.#caller.rank < WRITE) {
      throw new Problem("forbidden", "a relation takes the role write");
    }
    return actor;
  }
}

function hasRules({ unique, bots, ignore, distinct }: Metric): boolean {
  return unique !== undefined || bots === "drop" || (ignore !== undefined && ignore.length > 0) || distinct === true;
}

function wrongKind(at: string, message: string): Problem {
  return new Problem("wrong-kind", `${at}: ${message}`);
}

function notOwn(): Problem {
  return new Problem("forbidden", "/actor: the caller may name only its own actor");
}
