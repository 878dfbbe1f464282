import { badInput, Problem } from "../errors.ts";

/**
 * The path of a request's URL, undecoded and in parts.
 *
 * Bun gives `http://host/path?query#fragment`, with dots already resolved and bytes outside ASCII percent-encoded; but
 * `/path…` as it came where the Host header makes no URL. One pass over the letters: searching and splitting with the
 * string methods costs three times as much.
 */
export class Path {
  readonly #url: string;
  readonly #slashes: number[] = [];
  readonly #end: number;
  /** Where the query begins, behind its question mark, and ends. */
  readonly #queryStart: number;
  readonly #queryEnd: number;
  /** Whether every part means what it says: no escapes, and a URL that Bun has read. */
  readonly isPlain: boolean;
  /** Whether no part is empty. */
  readonly hasAllParts: boolean;

  constructor(url: string) {
    let isPlain = url.charCodeAt(0) !== SLASH;
    let at = isPlain ? url.indexOf("/", AFTER_SCHEME) : 0;
    let slash = -2;
    let hasAllParts = true;
    for (; at < url.length; at++) {
      const code = url.charCodeAt(at);
      if (code === SLASH) {
        if (slash === at - 1) hasAllParts = false;
        slash = at;
        this.#slashes.push(at);
      } else if (code === PERCENT) isPlain = false;
      else if (code === QUESTION || code === HASH) break;
    }
    const fragment = url.indexOf("#", at);
    this.#url = url;
    this.#end = at;
    this.#queryStart = at + 1;
    this.#queryEnd = fragment < 0 ? url.length : fragment;
    this.isPlain = isPlain;
    this.hasAllParts = hasAllParts && slash < at - 1;
  }

  /** `http://host/`; empty where the Host header makes no URL. */
  get origin(): string {
    return this.#url.slice(0, this.#slashes[0] === 0 ? 0 : (this.#slashes[0] as number) + 1);
  }

  isUnder(origin: string): boolean {
    return this.#url.startsWith(origin);
  }

  get whole(): string {
    return this.#url.slice(this.#slashes[0], this.#end);
  }

  /** Without the question mark. */
  get query(): string {
    return this.#queryStart < this.#queryEnd ? this.#url.slice(this.#queryStart, this.#queryEnd) : "";
  }

  /** How many parts there are: 2 in `/a/b`. */
  get length(): number {
    return this.#slashes.length;
  }

  startsWith(prefix: string): boolean {
    return this.#url.startsWith(prefix, this.#slashes[0]);
  }

  /** The parts from `first` to `last` with the slashes between them; the first part of all is 1. */
  parts(first: number, last = first): string {
    return this.#url.slice((this.#slashes[first - 1] as number) + 1, this.#slashes[last] ?? this.#end);
  }
}

const SLASH = 0x2f;
const PERCENT = 0x25;
const QUESTION = 0x3f;
const HASH = 0x23;
const AFTER_SCHEME = "https://".length;
const NOT_URL = /[^\x21-\x7e]/;

/** One segment or value as its caller meant it. Strict: `%ff`, `%zz` and a lone `%` are refused, not taken as text. */
export function decode(raw: string, at: string): string {
  if (NOT_URL.test(raw)) throw badInput(at, "must be percent-encoded");
  if (!raw.includes("%")) return raw;
  try {
    return decodeURIComponent(raw);
  } catch {
    throw badInput(at, `is not percent-encoded UTF-8: ${raw}`);
  }
}

/** A value of a query, where `+` is a blank as in forms. */
export function decodeQuery(raw: string, at: string): string {
  return decode(raw.includes("+") ? raw.replaceAll("+", "%20") : raw, at);
}

/** `.` and `..` are no ids; most URLs have lost them before they arrive. */
export function refuseDots(id: string): void {
  if (id === "." || id === "..") throw notFound();
}

export function notFound(): Problem {
  return new Problem("not-found", "there is no such address; see the API reference for those there are");
}
