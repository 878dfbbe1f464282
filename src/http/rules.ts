import type { Metric, Subject } from "../model.ts";
import type { Claim, ClaimingAct, Visitors } from "../ports/visitors.ts";
import type { LeftOutReason } from "../telemetry/requests.ts";
import { type AddressOf, Networks } from "./address.ts";
import type { Call } from "./call.ts";
import { Robots } from "./robots.ts";

/** An event as the rules see it. */
interface RuledEvent extends ClaimingAct {
  subject: Subject;
  /** Whose it is, where that is known: the body's, or the caller's own. */
  actor: string | null;
}

/** `reason` null: it counts, and `release` gives its claim back where it cannot be counted after all. */
type Verdict = { reason: LeftOutReason } | { reason: null; release(): void };

/** What a metric's settings say about its events. */
interface Compiled {
  metric: Metric;
  ignore: Networks;
  drops: boolean;
  /** In small letters. */
  allow: readonly string[];
  isUnique: boolean;
}

export const COUNTS: Verdict = { reason: null, release: () => undefined };
const LEFT_OUT = { unique: { reason: "unique" }, bot: { reason: "bot" }, ignored: { reason: "ignored" } } as const;

/**
 * Which events of a tally are left out, by its settings: `ignore`, `bots` and `allow`, `unique`, in this order, so that only
 * what would count claims a visitor's turn.
 *
 * `ignore` looks at the caller's address, whoever the caller is. `bots` looks at the User-Agent of callers who speak for
 * themselves: one with a key, or one who names the actor, is a program that tells of somebody else's visit, and what it is
 * itself says nothing. `unique` takes the actor, or else address and User-Agent.
 */
export class Rules {
  readonly #visitors: Visitors;
  readonly #addressOf: AddressOf;
  readonly #robots = new Robots();
  /** By metric id; null: no rules. */
  readonly #compiled: (Compiled | null | undefined)[] = [];

  constructor(visitors: Visitors, addressOf: AddressOf) {
    this.#visitors = visitors;
    this.#addressOf = addressOf;
  }

  /** Whether any rule has a say in the metric: for most none has, and then nothing need be asked. */
  has(metric: Metric): boolean {
    return this.#of(metric) !== null;
  }

  /** Who is asking, to be made once for each request and used for all its events. */
  visit(call: Call): Visit {
    return new Visit(call, this.#addressOf);
  }

  /** What somebody without a name is called in the sketches of a distinct tally, today. */
  nameOf({ address, agent }: Visit): string | Promise<string> {
    return this.#visitors.nameToday({ address, agent });
  }

  /** Whether an event counts. One that does has claimed its visitor's turn, and must now be counted or released. */
  judge(metric: Metric, visit: Visit, event: RuledEvent): Verdict | Promise<Verdict> {
    const rules = this.#of(metric);
    if (rules === null) return COUNTS;
    if (rules.ignore.has(rules.ignore.isEmpty ? "" : visit.address)) return LEFT_OUT.ignored;
    if (rules.drops && event.actor === null && this.#isRobot(rules, visit)) return LEFT_OUT.bot;
    if (!rules.isUnique) return COUNTS;
    const { actor } = event;
    const visitor = actor === null ? { address: visit.address, agent: visit.agent } : { actor };
    const claim = this.#visitors.claim(metric, event.subject, visitor, event);
    return claim instanceof Promise ? claim.then(verdictOf) : verdictOf(claim);
  }

  #isRobot({ allow }: Compiled, visit: Visit): boolean {
    if (visit.isKeyed) return false;
    const { agent } = visit;
    if (!this.#robots.is(agent)) return false;
    const small = allow.length === 0 ? "" : agent.toLowerCase();
    return !allow.some((part) => small.includes(part));
  }

  #of(metric: Metric): Compiled | null {
    const known = this.#compiled[metric.id];
    if (known !== undefined && (known === null || known.metric === metric)) return known;
    const compiled = compile(metric);
    this.#compiled[metric.id] = compiled;
    return compiled;
  }
}

/** Who sends a request, as far as the rules ask: each part is looked up when it is first asked for. */
export class Visit {
  readonly #call: Call;
  readonly #addressOf: AddressOf;
  #address: string | undefined;
  #agent: string | undefined;

  constructor(call: Call, addressOf: AddressOf) {
    this.#call = call;
    this.#addressOf = addressOf;
  }

  get address(): string {
    this.#address ??= this.#addressOf(this.#call);
    return this.#address;
  }

  get agent(): string {
    this.#agent ??= this.#call.request.headers.get("user-agent") ?? "";
    return this.#agent;
  }

  get isKeyed(): boolean {
    return this.#call.caller.id !== "";
  }
}

function compile(metric: Metric): Compiled | null {
  const { unique, bots, allow = [], ignore = [] } = metric;
  if (unique === undefined && bots !== "drop" && ignore.length === 0) return null;
  return {
    metric,
    ignore: new Networks(ignore),
    drops: bots === "drop",
    allow: allow.map((part) => part.toLowerCase()),
    isUnique: unique !== undefined,
  };
}

function verdictOf(claim: Claim | null): Verdict {
  return claim === null ? LEFT_OUT.unique : { reason: null, release: () => claim.release() };
}
