/** A large number of requests with keys that are known beforehand, each different from all others. */
export type FillPlan =
  | { readonly kind: "views"; readonly subjects: number; readonly digits: number }
  | { readonly kind: "likes"; readonly subjects: number; readonly actors: number; readonly actorsEach: number };

const SUBJECT_DIGITS = 4;
const ACTOR_DIGITS = 6;
/** Both are coprime to the powers of ten that are used: every key comes once, and in another order than the ids. */
const SUBJECT_STRIDE = 7_368_787;
/** Spreads 2,000 actors of a subject over a million. */
const ACTOR_STRIDE = 499;

export function requestsIn(plan: FillPlan): number {
  return plan.kind === "views" ? plan.subjects : plan.subjects * plan.actorsEach;
}

/** Request number `index` of the plan, ready to be sent. */
export function requestOf(plan: FillPlan, index: number): string {
  return plan.kind === "views" ? viewOf(plan, index) : likeOf(plan, index);
}

function viewOf(plan: FillPlan & { kind: "views" }, index: number): string {
  const id = padded((index * SUBJECT_STRIDE) % plan.subjects, plan.digits);
  return request("POST", `/v1/subjects/article/${id}/views`);
}

function likeOf(plan: FillPlan & { kind: "likes" }, index: number): string {
  const subject = index % plan.subjects;
  const turn = Math.floor(index / plan.subjects);
  const actor = (subject * SUBJECT_STRIDE + turn * ACTOR_STRIDE) % plan.actors;
  return request("PUT", `/v1/subjects/article/${padded(subject, SUBJECT_DIGITS)}/likes/${padded(actor, ACTOR_DIGITS)}`);
}

function request(method: string, path: string): string {
  return `${method} ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n`;
}

function padded(value: number, digits: number): string {
  return String(value).padStart(digits, "0");
}
