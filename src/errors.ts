/** Everything a caller can act on, by code: the status it is answered with and the title that stands in the problem. */
export const PROBLEMS = {
  "bad-input": [400, "The request holds something that is not valid"],
  "wrong-kind": [400, "The metric is of the other kind"],
  unauthorized: [401, "Credentials are missing or not valid"],
  forbidden: [403, "The caller may not do this"],
  protected: [403, "The server is in protected mode"],
  "not-found": [404, "There is nothing at this address"],
  "unknown-metric": [404, "The metric is not configured"],
  "unknown-type": [404, "The subject type is not configured"],
  "method-not-allowed": [405, "The method is not allowed here"],
  "too-large": [413, "The body is too large"],
  "wrong-content-type": [415, "The content type is not accepted here"],
  "key-reused": [422, "The Idempotency-Key was used with another body"],
  "too-fast": [429, "Too many requests"],
  internal: [500, "Something went wrong in the server"],
  unavailable: [503, "The server cannot do this right now"],
} as const satisfies Record<string, readonly [status: number, title: string]>;

type ProblemCode = keyof typeof PROBLEMS;

/** One thing that is wrong with the input: `at` is a JSON Pointer into the body or the name of a parameter. */
export interface InputError {
  at: string;
  message: string;
}

/** An operating error: what the outside can do to us. Rendered in one place (http/problem.ts); never a bug. */
export class Problem extends Error {
  readonly code: ProblemCode;
  readonly errors: InputError[] | undefined;
  readonly headers: Record<string, string> | undefined;

  constructor(
    code: ProblemCode,
    detail: string,
    more: { errors?: InputError[]; headers?: Record<string, string> } = {},
  ) {
    super(detail);
    this.name = "Problem";
    this.code = code;
    this.errors = more.errors;
    this.headers = more.headers;
  }

  get status(): number {
    return PROBLEMS[this.code][0];
  }
}

/** 400 that names the place. */
export function badInput(at: string, message: string): Problem {
  return new Problem("bad-input", at ? `${at}: ${message}` : message, { errors: [{ at, message }] });
}

/** 422: the key names another act. */
export function keyReused(): Problem {
  return new Problem("key-reused", "this Idempotency-Key came with another body before");
}

export function isKeyReused(error: unknown): boolean {
  return error instanceof Problem && error.code === "key-reused";
}

/** 503 with Retry-After: a bound is full, or nothing can make it durable. */
export function unavailable(detail: string, retryAfterS = 1): Problem {
  return new Problem("unavailable", detail, { headers: { "retry-after": String(retryAfterS) } });
}

/** Exit statuses, as in BSD's sysexits.h. */
export const EXIT = {
  ok: 0,
  difference: 1,
  usage: 64,
  data: 65,
  noInput: 66,
  unavailable: 69,
  bug: 70,
  config: 78,
} as const;

/** An operating error that keeps a command from starting: one clear line on stderr, no stack, this exit status. */
export class StartError extends Error {
  readonly exitStatus: number;

  constructor(message: string, exitStatus: number = EXIT.config) {
    super(message);
    this.name = "StartError";
    this.exitStatus = exitStatus;
  }
}

export function notSettled(): StartError {
  return new StartError("the ledger does not come up to what was counted: see the server's log", EXIT.unavailable);
}

/** Codes by which the system, and SQLite on its behalf, say that something outside is missing, full or not permitted. */
const SYSTEM_CODE = /^(?:E[A-Z0-9]{3,}|SQLITE_(?:FULL|IOERR|READONLY|CANTOPEN|BUSY|NOTADB|CORRUPT)\w*)$/;

/** Every file that the process or the machine may have open is: until some are closed, be it connections. */
export function isOutOfFiles(error: unknown): error is Error {
  return isSystemError(error) && (error.code === "EMFILE" || error.code === "ENFILE");
}

/** The system's answer (no room, not permitted), which may be another one next time; everything else is a bug. */
export function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && "code" in error && typeof error.code === "string" && SYSTEM_CODE.test(error.code);
}
