import { Hono, type MiddlewareHandler } from "hono";
import type { Settings } from "../config.ts";
import { Problem } from "../errors.ts";
import type { Metric, MetricKind } from "../model.ts";
import type { Admin } from "../ports/admin.ts";
import type { Counting } from "../ports/counting.ts";
import type { Histories } from "../ports/histories.ts";
import type { Rankings } from "../ports/rankings.ts";
import type { Visitors } from "../ports/visitors.ts";
import type { Watch } from "../streams/watch.ts";
import { type RequestStats, ROUTES, type RouteName } from "../telemetry/requests.ts";
import { type AccessSettings, createAccess, rankOf } from "./access.ts";
import { actorHandlers } from "./actors.ts";
import { createAddressOf, type PeerOf } from "./address.ts";
import { adminHandlers } from "./admin.ts";
import { MergeBody, NoBody, SetBody } from "./admin-input.ts";
import { jsonBody } from "./body.ts";
import { Call, type Entry, requestIds } from "./call.ts";
import { Catalog } from "./catalog.ts";
import { createCors } from "./cors.ts";
import { countedHandler } from "./counted.ts";
import { eventHandlers } from "./events.ts";
import { type Health, healthHandlers } from "./health.ts";
import { historyHandler } from "./history.ts";
import { HistoryQuery } from "./history-query.ts";
import { body, CountBody, ListQuery, query, RelateBody, SubjectQuery, strictQuery } from "./input.ts";
import { pageHandler } from "./pages.ts";
import { decodeQuery, notFound } from "./path.ts";
import { type ErrorLog, problemAnswer } from "./problem.ts";
import { Rules } from "./rules.ts";
import { streamHandlers } from "./stream.ts";
import { subjectHandlers } from "./subjects.ts";
import { TopQuery, topHandler } from "./top.ts";

export interface AppDeps {
  settings: AccessSettings & Pick<Settings, "types" | "known" | "trustedProxies">;
  /** Asked at each request: metrics may be added while we run. */
  metrics: () => readonly Metric[];
  counting: Counting;
  visitors: Visitors;
  peerOf: PeerOf;
  histories: Histories;
  rankings: Rankings;
  /** The streams of this thread. */
  streams: Watch;
  /** The request's connection may be quiet for so long; 0: for as long as it likes. */
  holdOpen: (request: Request, seconds: number) => void;
  admin: Admin;
  /** The request may take longer than a connection may else be quiet. */
  patient?: (request: Request) => void;
  health: () => Health;
  /** The text of /metrics, over all threads. */
  scrape: () => Promise<string>;
  /** The JSON of /v1/stats, over all threads. */
  usage: () => Promise<string>;
  stats: RequestStats;
  log: ErrorLog;
  newRequestId?: () => string;
  /** Told of answers that leave as much behind as so many small ones. */
  litter?: (answers: number) => void;
}

export type Handler = (request: Request) => Response | Promise<Response>;

const COUNT = entry("POST /v1/subjects/:type/:id/:metric", "count", "tally");
const SUBJECT = entry("GET /v1/subjects/:type/:id", "read");
const METRIC = entry("GET /v1/subjects/:type/:id/:metric", "read");
const SET = entry("PUT /v1/subjects/:type/:id/:metric", "admin", "tally");
const ERASE = entry("DELETE /v1/subjects/:type/:id", "admin");
const ERASE_ACTOR = entry("DELETE /v1/actors/:actor", "admin");
const MERGE = entry("POST /v1/merge", "admin");
const RELATE = entry("PUT /v1/subjects/:type/:id/:metric/:actor", "write", "relation");
const UNRELATE = entry("DELETE /v1/subjects/:type/:id/:metric/:actor", "write", "relation");
const RELATION = entry("GET /v1/subjects/:type/:id/:metric/:actor", "read", "relation");
const ACTOR = entry("GET /v1/actors/:actor", "read");
const ACTOR_LIST = entry("GET /v1/actors/:actor/:metric", "read", "relation");
const COUNTED = entry("GET /v1/subjects", "read");
const QUERY = entry("POST /v1/query", "read");
const HISTORY = entry("GET /v1/history/:type/:id/:metric", "read");
const TOP = entry("GET /v1/top/:type/:metric", "read");
const EVENTS = entry("POST /v1/events", "count");
const STREAM = entry("GET /v1/stream", "read");
const STREAM_MANY = entry("POST /v1/stream", "read");
const USAGE = entry("GET /v1/stats", "read");
const ALIVE = entry("GET /healthz", null);
const READY = entry("GET /readyz", null);
const SCRAPE = entry("GET /metrics", "read");

/**
 * Answers every request of one thread. What is asked most, without a body or a list, is recognised by hand (see `hot`);
 * everything else, and all that is wrong, goes through the table. Both end in the same handlers.
 */
export function createHandler(deps: AppDeps): Handler {
  const access = createAccess(deps.settings);
  const cors = createCors(deps.settings.corsOrigins);
  const catalog = new Catalog(deps.metrics, deps.settings.types);
  const { counting, stats, log, newRequestId = requestIds() } = deps;
  const rules = new Rules(deps.visitors, createAddressOf(deps.peerOf, deps.settings.trustedProxies));
  const subjects = subjectHandlers({ catalog, counting, rules, stats });
  const actors = actorHandlers({ catalog, counting, rules, stats });
  const counted = countedHandler({ catalog, counting });
  const page = pageHandler({ catalog, counting, knownNames: deps.settings.known, litter: deps.litter ?? (() => {}) });
  const top = topHandler({ catalog, rankings: deps.rankings });
  const history = historyHandler({ catalog, histories: deps.histories });
  const events = eventHandlers({ catalog, counting, rules, stats });
  const stream = streamHandlers({ catalog, ...deps });
  const admin = adminHandlers({ catalog, admin: deps.admin, patient: deps.patient ?? (() => undefined) });
  const health = healthHandlers(deps);

  /** Who asks comes first, then what the path names; bodies and queries are judged after both. */
  const enter = (row: Entry): MiddlewareHandler<{ Bindings: Call }> => {
    return (c, next) => {
      c.env.enter(row, access);
      catalog.knowPathOf(c.env, row);
      return next();
    };
  };
  // Routed by the path as it came: Hono would decode it, and an id may hold anything.
  const app = new Hono<{ Bindings: Call }>({
    getPath: (_request, options) => (options as { env: Call }).env.path.whole,
  })
    .post(COUNT.path, enter(COUNT), jsonBody, body(CountBody), (c) => subjects.count(c.env, c.req.valid("json")))
    .get(SUBJECT.path, enter(SUBJECT), strictQuery, query(SubjectQuery), (c) =>
      subjects.subject(c.env, c.req.valid("query")),
    )
    .get(METRIC.path, enter(METRIC), strictQuery, query(ListQuery), (c) => subjects.metric(c.env, c.req.valid("query")))
    .put(RELATE.path, enter(RELATE), jsonBody, body(RelateBody), (c) =>
      subjects.relate(c.env, true, c.req.valid("json")),
    )
    .delete(UNRELATE.path, enter(UNRELATE), jsonBody, body(RelateBody), (c) =>
      subjects.relate(c.env, false, c.req.valid("json")),
    )
    .get(RELATION.path, enter(RELATION), (c) => subjects.relation(c.env))
    .get(ACTOR.path, enter(ACTOR), (c) => actors.actor(c.env))
    .get(ACTOR_LIST.path, enter(ACTOR_LIST), strictQuery, query(ListQuery), (c) =>
      actors.subjects(c.env, c.req.valid("query")),
    )
    .get(COUNTED.path, enter(COUNTED), strictQuery, query(ListQuery), (c) => counted(c.env, c.req.valid("query")))
    .post(QUERY.path, enter(QUERY), (c) => page(c.env))
    .get(HISTORY.path, enter(HISTORY), strictQuery, query(HistoryQuery), (c) => history(c.env, c.req.valid("query")))
    .post(EVENTS.path, enter(EVENTS), (c) => events.post(c.env))
    .get(STREAM.path, enter(STREAM), (c) => stream.asked(c.env))
    .post(STREAM_MANY.path, enter(STREAM_MANY), (c) => stream.follow(c.env))
    .put(SET.path, enter(SET), jsonBody, body(SetBody), (c) => admin.set(c.env, c.req.valid("json")))
    .delete(ERASE.path, enter(ERASE), jsonBody, body(NoBody), (c) => admin.eraseSubject(c.env))
    .delete(ERASE_ACTOR.path, enter(ERASE_ACTOR), jsonBody, body(NoBody), (c) => admin.eraseActor(c.env))
    .post(MERGE.path, enter(MERGE), jsonBody, body(MergeBody), (c) => admin.merge(c.env, c.req.valid("json")))
    .get(USAGE.path, enter(USAGE), (c) => health.usage(c.env))
    .get(TOP.path, enter(TOP), strictQuery, query(TopQuery), (c) => top(c.env, c.req.valid("query")))
    .get(ALIVE.path, enter(ALIVE), (c) => health.alive(c.env))
    .get(READY.path, enter(READY), (c) => health.ready(c.env))
    .get(SCRAPE.path, enter(SCRAPE), (c) => health.metrics(c.env))
    .notFound((c) => noRoute(c.env))
    .onError((error) => {
      throw error;
    });

  /**
   * A request costs Bun itself about 7.5 µs of processor time, Hono's context and routing 1.5 more: these few go without.
   * Undefined: to the table with it.
   */
  function hot(call: Call): Response | Promise<Response> | undefined {
    const { path, method } = call;
    if (path.length < 4 || path.length > 6 || !path.startsWith("/v1/subjects/")) return undefined;
    if (path.length === 5) {
      if (method !== "POST" || call.request.body !== null || !path.hasAllParts) return undefined;
      call.enter(COUNT, access);
      return subjects.count(call);
    }
    if (!path.hasAllParts) return undefined;
    if (path.length === 4) {
      if (method !== "GET" || !ACTOR_OR_NONE.test(path.query)) return undefined;
      call.enter(SUBJECT, access);
      return subjects.subject(call, actorAlone(path.query));
    }
    if (method === "GET") {
      call.enter(RELATION, access);
      return subjects.relation(call);
    }
    const row = method === "PUT" ? RELATE : method === "DELETE" ? UNRELATE : undefined;
    if (row === undefined || call.request.body !== null) return undefined;
    call.enter(row, access);
    return subjects.relate(call, row === RELATE);
  }

  /** The methods that the table has for a path. */
  function methodsAt(path: string): string[] {
    const methods = ["GET", "POST", "PUT", "DELETE"].filter((method) => app.router.match(method, path)[0].length > 0);
    return methods.flatMap((method) => (method === "GET" ? ["GET", "HEAD"] : [method]));
  }

  function noRoute(call: Call): Response {
    access(call, -1);
    const preflight = cors?.preflight(call);
    if (preflight) return preflight;
    const methods = methodsAt(call.path.whole);
    if (methods.length === 0) throw notFound();
    const allow = [...methods, "OPTIONS"].join(", ");
    if (call.method === "OPTIONS")
      return new Response(null, { status: 204, headers: { allow, "x-request-id": call.id } });
    throw new Problem("method-not-allowed", `${call.method} is not allowed here; allowed are ${allow}`, {
      headers: { allow },
    });
  }

  /** HEAD is GET whose body Bun leaves out: all headers, Content-Length too, are those of GET. */
  function table(call: Call): Response | Promise<Response> {
    const { request } = call;
    return app.fetch(call.method === "HEAD" ? new Request(request, { method: "GET" }) : request, call);
  }

  const finish = (call: Call, answer: Response): Response => {
    cors?.mark(call, answer);
    stats.answered(call.route, answer.status, performance.now() - call.startedMs);
    return answer;
  };
  const fail = (call: Call, error: unknown): Response => finish(call, problemAnswer(error, call.id, log));
  return (request) => {
    const call = new Call(request, newRequestId);
    try {
      const answer = hot(call) ?? table(call);
      if (!(answer instanceof Promise)) return finish(call, answer);
      return answer.then(
        (answer) => finish(call, answer),
        (error) => fail(call, error),
      );
    } catch (error) {
      return fail(call, error);
    }
  };
}

/** `kind`: what its metric must be, where that does not depend on the rest of the request. */
function entry(name: RouteName, role: Parameters<typeof rankOf>[0], kind: MetricKind | null = null): Entry {
  const [method, path] = name.split(" ") as [Entry["method"], string];
  const metricAt = path.split("/").indexOf(":metric");
  return { method, path, index: ROUTES.indexOf(name), rank: rankOf(role), metricAt, kind };
}

const ACTOR_OR_NONE = /^(?:actor=[^&]*)?$/;

function actorAlone(query: string): { actor?: string } {
  return query === "" ? {} : { actor: decodeQuery(query.slice("actor=".length), "actor") };
}
