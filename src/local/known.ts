import { newestFirst, type Place } from "../arithmetic/place.ts";
import type { Stamp } from "../arithmetic/stamp.ts";
import { badInput } from "../errors.ts";
import { KNOWN_LOOKS_MAX, KNOWN_NAMES } from "../limits.ts";
import type { Actor, Metric } from "../model.ts";
import type { KnownActors } from "../ports/counting.ts";

/** How one list of actors and those whom somebody follows are brought together. */
export type KnownPlan =
  /** Each actor of the lists is looked up among the followed. */
  | "by actors"
  /** The followed are read once; then of each list and the followed the shorter one is walked. */
  | "by followed";

/**
 * The cheaper way, by how many are followed and how long the lists are. A page's posts have tens of likes, so usually
 * nobody reads who follows 100,000 people; one who follows 200 does not walk through a million likes either.
 */
export function knownPlan(followed: number, lists: readonly number[]): { plan: KnownPlan; looks: number } {
  const byActors = sum(lists);
  if (byActors <= followed) return within("by actors", byActors);
  return within("by followed", followed + sum(lists.map((length) => Math.min(length, followed))));
}

function within(plan: KnownPlan, looks: number): { plan: KnownPlan; looks: number } {
  if (looks <= KNOWN_LOOKS_MAX) return { plan, looks };
  const message = `takes ${looks} looks here, and at most ${KNOWN_LOOKS_MAX} are allowed: ask for fewer subjects or metrics`;
  throw badInput("/known", message);
}

/** The answer for one list: who of it is followed, with the stamp of what they did. */
export function knownActors(found: ReadonlyMap<Actor, Stamp>): KnownActors {
  const first: Place[] = [];
  // Hundreds of thousands are found, and three are named: so no sort of all.
  for (const [id, stamp] of found) {
    const last = first[KNOWN_NAMES - 1];
    if (last && stamp < last.stamp) continue;
    first.push({ id, stamp });
    first.sort(newestFirst);
    if (first.length > KNOWN_NAMES) first.pop();
  }
  return { count: found.size, actors: first.map(({ id }) => id) };
}

/** Of a page's counts those of relations. */
export function ofRelations(metrics: readonly Metric[], counts: readonly number[]): number[] {
  return counts.filter((_, at) => (metrics[at % metrics.length] as Metric).kind === "relation");
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
