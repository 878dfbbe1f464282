/** A large number of requests with keys that are known beforehand, each different from all others. */
export type FillPlan =
  | { readonly kind: "reads"; readonly subjects: number; readonly ids: IdKind }
  | { readonly kind: "views"; readonly subjects: number; readonly digits: number }
  | { readonly kind: "likes"; readonly subjects: number; readonly actors: number; readonly actorsEach: number };

/** `decimal`: article/123456, as an AUTO_INCREMENT makes them; `uuid`: page/ with a version 4 UUID, made from the number. */
export type IdKind = "decimal" | "uuid";

const SUBJECT_DIGITS = 4;
const ACTOR_DIGITS = 6;
/** No leading zeros: a zero in front makes another id. */
const FIRST_DECIMAL = 100_000;
/** Both are coprime to the powers of ten that are used: every key comes once, and in another order than the ids. */
const SUBJECT_STRIDE = 7_368_787;
/** Spreads 2,000 actors of a subject over a million. */
const ACTOR_STRIDE = 499;

export function requestsIn(plan: FillPlan): number {
  return plan.kind === "likes" ? plan.subjects * plan.actorsEach : plan.subjects;
}

/** Request number `index` of the plan, ready to be sent. */
export function requestOf(plan: FillPlan, index: number): string {
  switch (plan.kind) {
    case "views":
      return viewOf(plan, index);
    case "likes":
      return likeOf(plan, index);
    case "reads":
      return request("GET", `/v1/subjects/${subjectOf(plan.ids, index)}/views`);
  }
}

/** Subject number `index` of a kind. */
export function subjectOf(ids: IdKind, index: number): string {
  return ids === "decimal" ? `article/${FIRST_DECIMAL + index}` : `page/${uuidOf(index)}`;
}

/** Whom like number `index` is of and on what. */
export function likedAt(plan: FillPlan & { kind: "likes" }, index: number): { subject: string; actor: string } {
  const subject = index % plan.subjects;
  const turn = Math.floor(index / plan.subjects);
  const actor = (subject * SUBJECT_STRIDE + turn * ACTOR_STRIDE) % plan.actors;
  return { subject: `article/${padded(subject, SUBJECT_DIGITS)}`, actor: padded(actor, ACTOR_DIGITS) };
}

function viewOf(plan: FillPlan & { kind: "views" }, index: number): string {
  const id = padded((index * SUBJECT_STRIDE) % plan.subjects, plan.digits);
  return request("POST", `/v1/subjects/article/${id}/views`);
}

function likeOf(plan: FillPlan & { kind: "likes" }, index: number): string {
  const { subject, actor } = likedAt(plan, index);
  return request("PUT", `/v1/subjects/${subject}/likes/${actor}`);
}

function uuidOf(index: number): string {
  const hex = new Bun.CryptoHasher("md5").update(String(index)).digest("hex");
  const parts = [hex.slice(0, 8), hex.slice(8, 12), `4${hex.slice(13, 16)}`, `a${hex.slice(17, 20)}`, hex.slice(20)];
  return parts.join("-");
}

function request(method: string, path: string): string {
  return `${method} ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n`;
}

function padded(value: number, digits: number): string {
  return String(value).padStart(digits, "0");
}
