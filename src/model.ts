import { badInput, type Problem } from "./errors.ts";

/** What a metric counts: events that add up, or distinct actors, one each. */
export type MetricKind = "tally" | "relation";

/** A metric as the settings declare it. */
export interface MetricSetting {
  readonly name: string;
  readonly kind: MetricKind;
  /** Tally: one caller counts once in this many milliseconds. */
  readonly unique?: number;
  /** Tally: whether robots are left out. */
  readonly bots?: "drop" | "count";
  /** Tally: parts of the User-Agent that are never taken for a robot. */
  readonly allow?: readonly string[];
  /** Tally: addresses and networks that are not counted. */
  readonly ignore?: readonly string[];
  /** Tally: estimates how many different callers there were. */
  readonly distinct?: boolean;
}

/** A configured metric. `id` is the small number (1–255) the stores keep instead of the name; the ledger hands it out once. */
export interface Metric extends MetricSetting {
  readonly id: number;
}

/** `type/id`, as stored: the id is opaque and never normalised. The string divides at its first slash. */
export type Subject = string;
/** 1–128 bytes of UTF-8, opaque. */
export type Actor = string;

/** A relation as an answer shows it. `at` is milliseconds since 1970, null where the actor never acted. */
export interface RelationState {
  active: boolean;
  count: number;
  at: number | null;
}

export const NAME_PATTERN = /^[a-z][a-z0-9_]{0,31}$/;
export const ID_BYTES_MAX = 128;
/** Metric names and types are ASCII, so bytes are characters: `type/` and the id. */
export const SUBJECT_BYTES_MAX = 32 + 1 + ID_BYTES_MAX;
export const COUNT_MAX = Number.MAX_SAFE_INTEGER;

/** 400: more than a count can be. */
export function countTooHigh(): Problem {
  return badInput("/by", `the count would pass ${COUNT_MAX}`);
}
export const BY_MAX = 1_000_000;

const ASCII_PRINTABLE = /^[\x20-\x7e]+$/;
const CONTROL = /\p{Cc}/u;

/**
 * What is wrong with an id (of a subject or an actor), or null.
 * Well-formedness is checked because a lone surrogate has no UTF-8 and would be stored as U+FFFD, one id for many.
 */
export function idProblem(id: string): string | null {
  if (id === "") return "must not be empty";
  if (id === "." || id === "..") return "must not be . or ..: URLs swallow them";
  if (id.length <= ID_BYTES_MAX && ASCII_PRINTABLE.test(id)) return null;
  if (!id.isWellFormed()) return "must be valid Unicode: it holds a lone surrogate";
  if (CONTROL.test(id)) return "must not contain control characters";
  const bytes = Buffer.byteLength(id);
  return bytes > ID_BYTES_MAX ? `must be at most ${ID_BYTES_MAX} bytes of UTF-8, not ${bytes}` : null;
}

/** What is wrong with a `type/id` string, or null. */
export function subjectProblem(subject: string): string | null {
  const slash = subject.indexOf("/");
  if (slash < 0) return "must be type/id";
  if (!NAME_PATTERN.test(subject.slice(0, slash))) return `its type must match ${NAME_PATTERN.source}`;
  const problem = idProblem(subject.slice(slash + 1));
  return problem && `its id ${problem}`;
}

/** The type of a valid subject. */
export function typeOf(subject: Subject): string {
  return subject.slice(0, subject.indexOf("/"));
}

/** Joins a checked type and id; refuses what is no subject (400 at `at`). */
export function subjectOf(type: string, id: string, at: { type: string; id: string }): Subject {
  if (!NAME_PATTERN.test(type)) throw badInput(at.type, `must match ${NAME_PATTERN.source}`);
  const problem = idProblem(id);
  if (problem) throw badInput(at.id, problem);
  return `${type}/${id}`;
}
