import { type Code, codeOf } from "../distinct/code.ts";
import type { Actor, Metric, Subject } from "../model.ts";
import type { Counting, OnceKey } from "../ports/counting.ts";

/** An event of a tally: how often, and whose it is, where that is known. */
export interface TallyEvent {
  subject: Subject;
  by: number;
  actor: Actor | null;
  once: OnceKey | undefined;
  /** When it was, milliseconds since 1970, if not now. */
  at: number | undefined;
}

/**
 * Whom the sketches of a distinct tally see in an event: its actor, or else `stranger`, a name for the caller's address and
 * browser. Undefined where the tally has no sketches, and where the event is of another time and nobody's: then it is not
 * the caller's visit.
 */
export async function codeFor(
  metric: Metric,
  { actor, at }: Pick<TallyEvent, "actor" | "at">,
  stranger?: () => string | Promise<string>,
): Promise<Code | undefined> {
  if (metric.distinct !== true) return undefined;
  if (actor !== null) return codeOf(`actor ${actor}`);
  return at === undefined && stranger ? codeOf(`stranger ${await stranger()}`) : undefined;
}

/** Adds to a tally, once its visitor is in the sketches: refused there, nothing was counted, and trying again is safe. */
export async function addEvent(
  counting: Counting,
  metric: Metric,
  { subject, by, once, at }: TallyEvent,
  visitor: Code | undefined,
): Promise<number | null> {
  if (once !== undefined || at !== undefined) return counting.addOnce(metric, subject, by, once, at, visitor);
  if (visitor !== undefined) await counting.visit(metric, subject, visitor);
  return counting.add(metric, subject, by);
}
