import { unavailable } from "../errors.ts";
import type { Admin } from "./admin.ts";
import type { HotAdds } from "./bulk.ts";
import type { Counting } from "./counting.ts";
import type { Histories } from "./histories.ts";
import type { Rankings } from "./rankings.ts";

/** For a process that answers requests and does not count: everything is 503, with the reason. */
export function noCounting(reason: string): Counting & Histories & Rankings {
  const refuse = (): never => {
    throw unavailable(reason);
  };
  const adds: HotAdds = { enter() {}, leave() {}, begin() {}, isFull: false, put: refuse, flush() {} };
  return {
    bulk: { adds, add: refuse, isShown: true, claim: refuse, taken: refuse, append: refuse },
    add: refuse,
    addOnce: refuse,
    visit: refuse,
    distinct: refuse,
    relate: refuse,
    relation: refuse,
    counts: refuse,
    mine: refuse,
    page: refuse,
    actors: refuse,
    actorCounts: refuse,
    subjects: refuse,
    hours: refuse,
    counted: refuse,
    top: refuse,
  };
}

/** The same for what administrators ask. */
export function noAdmin(reason: string): Admin {
  const refuse = (): Promise<never> => Promise.reject(unavailable(reason));
  return { set: refuse, eraseSubject: refuse, eraseActor: refuse, merge: refuse };
}
