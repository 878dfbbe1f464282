import type { MetricKind } from "../model.ts";
import { OTHER } from "../telemetry/requests.ts";
import { type Access, type Caller, NOBODY } from "./access.ts";
import { decode, Path } from "./path.ts";

/** One request under way: what its handlers know of it. */
export class Call {
  readonly startedMs = performance.now();
  readonly request: Request;
  readonly method: string;
  /** By lower-case name; without those that say nothing to us, where there are no others. */
  readonly headers: CallHeaders;
  readonly path: Path;
  /** X-Request-Id of the answer. */
  readonly id: string;
  /** Its place in ROUTES, once it is known. */
  route: number = OTHER;
  caller: Caller = NOBODY;
  /** The body, once it is read. */
  body: Uint8Array | null = null;

  constructor(request: Request, newRequestId: () => string) {
    const headers = headersOf(request.headers);
    const id = headers["x-request-id"];
    this.request = request;
    this.method = request.method;
    this.headers = headers;
    this.path = new Path(request.url);
    this.id = id !== undefined && VISIBLE.test(id) ? id : newRequestId();
  }

  get host(): string | null {
    return this.request.headers.get("host");
  }

  /** A part of the path, decoded. */
  part(index: number, name: string): string {
    const raw = this.path.parts(index);
    return this.path.isPlain ? raw : decode(raw, name);
  }

  /** Lets the caller into a route, or throws. */
  enter(entry: Entry, access: Access): void {
    this.route = entry.index;
    this.caller = access(this, entry.rank);
  }
}

type CallHeaders = Readonly<Record<string, string | undefined>>;

/** What every program sends, and we do not look at; the host stands in the URL. */
const USUAL = ["host", "user-agent", "accept", "accept-encoding", "connection", "content-length"] as const;
const NONE: CallHeaders = Object.freeze({});

/**
 * Copying the headers out costs as much as all our other work on a view. So they are only counted where they are the
 * usual ones; nothing else can hide among them, whatever its name.
 */
function headersOf(headers: Headers): CallHeaders {
  let usual = 0;
  for (let i = 0; i < USUAL.length; i++) if (headers.has(USUAL[i] as string)) usual++;
  return usual === headers.count ? NONE : headers.toJSON();
}

/** A caller's own request id is kept if it is sane. */
const VISIBLE = /^[\x21-\x7e]{1,128}$/;

/** A row of the route table. */
export interface Entry {
  method: "GET" | "POST" | "PUT" | "DELETE";
  path: string;
  /** Its place in ROUTES. */
  index: number;
  /** The role it takes, as a place in ROLES; -1: none. */
  rank: number;
  /** Which part of the path is a metric; -1: none. */
  metricAt: number;
  /** What that metric must be; null: either. */
  kind: MetricKind | null;
}

/** Request ids that no other thread or run hands out: a random half and a number. */
export function requestIds(): () => string {
  const run = `${crypto.randomUUID().slice(0, 13).replace("-", "")}-`;
  let n = 0;
  return () => run + ++n;
}
