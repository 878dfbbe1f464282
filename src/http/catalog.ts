import { badInput, Problem } from "../errors.ts";
import { idProblem, type Metric, type MetricKind, NAME_PATTERN, type Subject, subjectOf, typeOf } from "../model.ts";
import type { Call, Entry } from "./call.ts";
import { refuseDots } from "./path.ts";

/** Nearly all of them: one look where the full check takes four. What it does not match is looked at closely. */
const PLAIN_SUBJECT = /^[a-z][a-z0-9_]{0,31}\/[\x21-\x7e]{1,128}$/;

/** What is configured, by name. The metrics may grow while we run. */
export class Catalog {
  readonly #metrics: () => readonly Metric[];
  readonly #types: ReadonlySet<string> | null;
  #seen: readonly Metric[] = [];
  #seenLength = 0;
  #byName = new Map<string, Metric>();
  #relations: readonly Metric[] = [];

  constructor(metrics: () => readonly Metric[], types: readonly string[] | null) {
    this.#metrics = metrics;
    this.#types = types && new Set(types);
  }

  /** What is configured now, whatever is added later. */
  frozen(): Catalog {
    const metrics = this.all.slice();
    return new Catalog(() => metrics, this.#types && [...this.#types]);
  }

  get all(): readonly Metric[] {
    this.#refresh();
    return this.#seen;
  }

  get relations(): readonly Metric[] {
    this.#refresh();
    return this.#relations;
  }

  metric(name: string): Metric {
    this.#refresh();
    const metric = this.#byName.get(name);
    if (metric) return metric;
    const known = [...this.#byName.keys()].join(", ");
    throw new Problem(
      "unknown-metric",
      `no metric ${JSON.stringify(name)} is configured; there are: ${known || "none"}`,
    );
  }

  of(kind: MetricKind, name: string): Metric {
    const metric = this.metric(name);
    if (metric.kind === kind) return metric;
    const detail =
      kind === "tally"
        ? `${name} is a relation: PUT or DELETE …/${name}/{actor} sets it for an actor`
        : `${name} is a tally: it has no actors; POST …/${name} counts`;
    throw new Problem("wrong-kind", detail);
  }

  /**
   * Refuses a path whose metric is not configured, or not of the kind its route is about: whatever else is wrong with such a
   * request, this is what its sender has to know. The subject before it is looked at first, as the handlers do.
   */
  knowPathOf(call: Call, { metricAt, kind }: Pick<Entry, "metricAt" | "kind">): void {
    if (metricAt < 0) return;
    if (metricAt === 5) this.subjectIn(call);
    const name = call.part(metricAt, "metric");
    if (kind === null) this.metric(name);
    else this.of(kind, name);
  }

  /** The subject that parts 3 and 4 of a path name. */
  subjectIn(call: Call): Subject {
    const { path } = call;
    if (path.isPlain && this.#types === null) {
      const subject = path.parts(3, 4);
      if (PLAIN_SUBJECT.test(subject)) return subject;
    }
    return this.#subject(call.part(3, "type"), call.part(4, "id"));
  }

  #subject(type: string, id: string): Subject {
    refuseDots(id);
    const subject = subjectOf(type, id, { type: "type", id: "id" });
    this.#know(type);
    return subject;
  }

  /** A type that a list is narrowed to. */
  type(type: string): string {
    if (!NAME_PATTERN.test(type)) throw badInput("type", `must match ${NAME_PATTERN.source}`);
    this.#know(type);
    return type;
  }

  /** Refuses subjects of types that are not configured. */
  knowTypesOf(subjects: readonly Subject[]): void {
    if (this.#types === null) return;
    for (const subject of subjects) this.#know(typeOf(subject));
  }

  #know(type: string): void {
    if (this.#types === null || this.#types.has(type)) return;
    const known = [...this.#types].join(", ");
    throw new Problem("unknown-type", `no type ${JSON.stringify(type)} is configured; there are: ${known}`);
  }

  #refresh(): void {
    const metrics = this.#metrics();
    if (metrics === this.#seen && metrics.length === this.#seenLength) return;
    this.#seen = metrics;
    this.#seenLength = metrics.length;
    this.#byName = new Map(metrics.map((metric) => [metric.name, metric]));
    this.#relations = metrics.filter((metric) => metric.kind === "relation");
  }
}

/** The actor in the path. */
export function actorIn(call: Call, index: number): string {
  const id = call.part(index, "actor");
  refuseDots(id);
  return actorOf(id, call.caller, "actor");
}

/** The actor meant by a path, a query or a body; `me` is the caller's own. */
export function actorOf(raw: string, caller: { actor: string | null }, at: string): string {
  if (raw === "me") {
    if (caller.actor === null) throw badInput(at, "me is the caller's own actor, and this caller has none");
    return caller.actor;
  }
  const problem = idProblem(raw);
  if (problem) throw badInput(at, problem);
  return raw;
}
