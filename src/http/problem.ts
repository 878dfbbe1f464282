import { HTTPException } from "hono/http-exception";
import type { z } from "zod";
import { badInput, type InputError, PROBLEMS, Problem } from "../errors.ts";
import { INPUT_ERRORS_MAX } from "../limits.ts";

/** Where what should not happen is told. */
export interface ErrorLog {
  error(message: string, fields?: Record<string, unknown>): void;
}

/** The one place that renders errors. */
export function problemAnswer(error: unknown, requestId: string, log: ErrorLog): Response {
  const problem = asProblem(error, requestId, log);
  const [status, title] = PROBLEMS[problem.code];
  const { message: detail, errors } = problem;
  const body = JSON.stringify({ type: `/problems/${problem.code}`, title, status, detail, errors });
  const headers = {
    "content-type": "application/problem+json",
    "cache-control": "no-store",
    "x-request-id": requestId,
    ...problem.headers,
  };
  return new Response(body, { status, headers });
}

function asProblem(error: unknown, requestId: string, log: ErrorLog): Problem {
  if (error instanceof Problem) return error;
  // From Hono's own checks, which ours come before: kept in case one is missed.
  if (error instanceof HTTPException && error.status === 400) return badInput("", error.message);
  log.error("a request failed", { requestId, error });
  return new Problem("internal", `nothing is known of the outcome; the log has more under the request id ${requestId}`);
}

/** Everything that zod found, in our words: the places are JSON Pointers in a body, names in a query. */
export function invalid(issues: readonly z.core.$ZodIssue[], target: "json" | "query"): Problem {
  const byPlace = new Map<string, InputError>();
  for (const error of issues.flatMap((issue) => inputErrors(issue, target))) {
    // Zod says of 2^53 that it is no safe integer and that it is too big: the first word holds.
    if (!byPlace.has(error.at)) byPlace.set(error.at, error);
    if (byPlace.size === INPUT_ERRORS_MAX) break;
  }
  const errors = [...byPlace.values()];
  const detail = errors.map(({ at, message }) => (at ? `${at}: ${message}` : message)).join("; ");
  return new Problem("bad-input", detail, { errors });
}

function inputErrors(issue: z.core.$ZodIssue, target: "json" | "query"): InputError[] {
  const at = (path: PropertyKey[]) => (target === "json" ? pointer(path) : String(path[0] ?? ""));
  if (issue.code !== "unrecognized_keys") return [{ at: at(issue.path), message: issue.message }];
  return issue.keys.map((key) => ({ at: at([...issue.path, key]), message: "is no known field" }));
}

function pointer(path: readonly PropertyKey[]): string {
  return path.map((part) => `/${String(part).replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");
}
