import type { Call } from "./call.ts";

/** A browser asks once a day, where it remembers that long. */
const PREFLIGHT = {
  "access-control-allow-methods": "GET, HEAD, POST, PUT, DELETE",
  "access-control-allow-headers": "Authorization, Content-Type, Idempotency-Key, Prefer, Last-Event-ID",
  "access-control-max-age": "86400",
};
const EXPOSED = "Retry-After, X-Request-Id";

/** What pages of other origins may see. `undefined` where no origin is configured. */
interface Cors {
  /**
   * The answer to a browser that asks before it sends, or undefined where that is not what is asked, or not for whom. The
   * same for every address: so that a page can read the 404 of the request itself.
   */
  preflight(call: Call): Response | undefined;
  /** Lets the page that asked read the answer, errors and streams too. */
  mark(call: Call, answer: Response): void;
}

/** Credentials are keys, which pages send themselves: cookies play no part, so they are not allowed. */
export function createCors(origins: readonly string[]): Cors | undefined {
  if (origins.length === 0) return undefined;
  const isAny = origins.includes("*");
  const listed = new Set(origins);
  return {
    preflight(call) {
      const { origin } = call.headers;
      if (call.method !== "OPTIONS" || call.headers["access-control-request-method"] === undefined) return undefined;
      if (origin === undefined || !(isAny || listed.has(origin))) return undefined;
      return new Response(null, { status: 204, headers: { ...PREFLIGHT, "x-request-id": call.id } });
    },

    mark(call, { headers }) {
      const { origin } = call.headers;
      if (origin === undefined) return;
      if (!isAny) headers.append("vary", "Origin");
      if (!isAny && !listed.has(origin)) return;
      headers.set("access-control-allow-origin", isAny ? "*" : origin);
      headers.set("access-control-expose-headers", EXPOSED);
    },
  };
}
