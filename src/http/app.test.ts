import { describe, expect, test } from "bun:test";
import { MemoryCounting } from "../../test/support/memory-counting.ts";
import { unavailable } from "../errors.ts";
import type { Metric } from "../model.ts";
import type { Admin } from "../ports/admin.ts";
import { noAdmin } from "../ports/no-counting.ts";
import { NO_VISITORS } from "../ports/no-visitors.ts";
import { Watch } from "../streams/watch.ts";
import { RequestStats, ROUTES, requestStatsMemory, requestTotals } from "../telemetry/requests.ts";
import { type AppDeps, createHandler } from "./app.ts";
import type { Health } from "./health.ts";

const METRICS: Metric[] = [
  { id: 1, name: "views", kind: "tally" },
  { id: 2, name: "likes", kind: "relation" },
];

const SETTINGS: AppDeps["settings"] = {
  host: "127.0.0.1",
  keys: [],
  jwtSecret: null,
  jwksUrl: null,
  anonymous: "none",
  open: false,
  corsOrigins: [],
  trustedProxies: [],
  types: null,
  known: null,
};

const ADMIN: Admin = {
  set: async (_metric, _subject, count) => count,
  eraseSubject: async (_subject, metrics) => ({ counts: metrics.map(() => 0), isShown: true }),
  eraseActor: async (_actor, metrics) => ({ counts: metrics.map(() => 0), isShown: true }),
  merge: async (_from, _to, metrics) => metrics.map(() => 0),
};

function open(more: Partial<AppDeps> = {}) {
  const memory = requestStatsMemory(1);
  const errors: unknown[][] = [];
  const counting = more.counting ?? new MemoryCounting();
  const handle = createHandler({
    settings: SETTINGS,
    metrics: () => METRICS,
    visitors: NO_VISITORS,
    peerOf: () => "127.0.0.1",
    histories: { hours: () => [] },
    rankings: { top: () => ({ from: 0, to: 60, error: 0, items: [] }) },
    counting,
    streams: new Watch({ counting, opened: () => undefined, failed: (error) => errors.push([error]) }),
    holdOpen: () => undefined,
    admin: noAdmin("not here"),
    health: () => ({ status: "ready", parts: {} }),
    scrape: async () => "",
    usage: async () => "{}",
    stats: new RequestStats(memory, 0),
    log: { error: (...args) => errors.push(args) },
    ...more,
  });
  const send = async (method: string, path: string, init: RequestInit = {}) => {
    const answer = await handle(new Request(`http://127.0.0.1${path}`, { method, ...init }));
    const text = await answer.text();
    return {
      status: answer.status,
      headers: answer.headers,
      text,
      json: text.startsWith("{") ? JSON.parse(text) : null,
    };
  };
  const totals = () => requestTotals(memory);
  return { handle, send, errors, totals };
}

describe("the request handler", () => {
  test("answers at once where the port does", () => {
    const { handle } = open();
    const request = (method: string, path: string) => handle(new Request(`http://127.0.0.1${path}`, { method }));
    expect(request("POST", "/v1/subjects/a/1/views")).toBeInstanceOf(Response);
    expect(request("GET", "/v1/subjects/a/1?actor=7")).toBeInstanceOf(Response);
    expect(request("GET", "/v1/subjects/a/1/likes/7")).toBeInstanceOf(Response);
    expect(request("POST", "/v1/subjects/a/1/likes")).toBeInstanceOf(Response);
  });

  test("waits where the port has to", async () => {
    const { send } = open({ counting: new MemoryCounting({ waiting: true }) });
    expect((await send("POST", "/v1/subjects/a/1/views")).json).toEqual({ count: 1 });
    expect((await send("PUT", "/v1/subjects/a/1/likes/7")).json).toMatchObject({ active: true, count: 1 });
    expect((await send("GET", "/v1/subjects/a/1?actor=7")).text).toBe(
      '{"subject":"a/1","counts":{"views":1,"likes":1},"mine":["likes"]}',
    );
    expect((await send("GET", "/v1/subjects/a/1/views")).json.count).toBe(1);
    expect((await send("GET", "/v1/actors/7")).json.counts).toEqual({ likes: 1 });
  });

  test("looks at the path's metric before the body and the query, and at who asks before both", async () => {
    const { send } = open();
    const json = { headers: { "content-type": "application/json" } };
    for (const [method, path, body] of [
      ["PUT", "/v1/subjects/a/1/nope", null],
      ["PUT", "/v1/subjects/a/1/nope", "[]"],
      ["POST", "/v1/subjects/a/1/nope", '{"by":0}'],
      ["PUT", "/v1/subjects/a/1/nope/7", '{"by":0}'],
      ["DELETE", "/v1/subjects/a/1/nope/7", "{"],
      ["GET", "/v1/subjects/a/1/nope?limit=0", null],
      ["GET", "/v1/actors/7/nope?limit=0", null],
      ["GET", "/v1/history/a/1/nope?step=year", null],
      ["GET", "/v1/top/a/nope?window=now", null],
    ] as const) {
      const answer = await send(method, path, { ...json, body });
      expect([answer.status, answer.json.type], `${method} ${path}`).toEqual([404, "/problems/unknown-metric"]);
      expect(answer.json.detail).toContain("views, likes");
    }
    for (const [method, path, body] of [
      ["PUT", "/v1/subjects/a/1/likes", null],
      ["POST", "/v1/subjects/a/1/likes", '{"by":0}'],
      ["PUT", "/v1/subjects/a/1/views/7", '{"by":0}'],
      ["DELETE", "/v1/subjects/a/1/views/7", '{"by":0}'],
      ["GET", "/v1/actors/7/views?limit=0", null],
    ] as const) {
      const answer = await send(method, path, { ...json, body });
      expect([answer.status, answer.json.type], `${method} ${path}`).toEqual([400, "/problems/wrong-kind"]);
    }
    const everyone = open({ settings: { ...SETTINGS, open: true } });
    expect((await everyone.send("PUT", "/v1/subjects/a/1/nope")).status).toBe(403);
    const keyed = open({ settings: { ...SETTINGS, keys: [{ role: "read", secret: "secret" }] } });
    expect((await keyed.send("GET", "/v1/subjects/a/1/nope?limit=0")).status).toBe(401);
  });

  test("answers the same by hand and through the table", async () => {
    for (const [method, path, viaTable] of [
      ["POST", "/v1/subjects/a/1/views", "/v1/subjects/a/1/views"],
      ["PUT", "/v1/subjects/a/1/likes/7", "/v1/subjects/a/1/likes/7"],
      ["GET", "/v1/subjects/a/1?actor=7", "/v1/subjects/a/1?actor=7&x"],
      ["DELETE", "/v1/subjects/a/1/likes/7", "/v1/subjects/a/1/likes/7"],
      ["POST", "/v1/subjects/a/%ff/views", "/v1/subjects/a/%ff/views"],
      ["GET", "/v1/subjects/a/1?actor=%ff", "/v1/subjects/a/1?actor=%ff&x"],
      ["GET", "/v1/subjects/A/1", "/v1/subjects/A/1?x"],
      ["PUT", "/v1/subjects/a/1/views/7", "/v1/subjects/a/1/views/7"],
      ["POST", "/v1/subjects/A/1/nope", "/v1/subjects/A/1/nope"],
    ] as const) {
      const [one, other] = [open(), open()];
      const init = method === "GET" ? {} : { body: "{}", headers: { "content-type": "application/json" } };
      const [byHand, byTable] = [await one.send(method, path), await other.send(method, viaTable, init)];
      expect([byTable.status, byTable.text], path).toEqual([byHand.status, byHand.text]);
      expect(one.totals().routes.map(({ answers }) => answers)).toEqual(
        other.totals().routes.map(({ answers }) => answers),
      );
    }
  });

  test("counts each request under its route, and events", async () => {
    const { send, totals } = open({ admin: ADMIN });
    const requests: [method: string, path: string, json?: string][] = [
      ["POST", "/v1/subjects/a/1/views"],
      ["GET", "/v1/subjects/a/1"],
      ["GET", "/v1/subjects/a/1/views"],
      ["PUT", "/v1/subjects/a/1/likes/7"],
      ["DELETE", "/v1/subjects/a/1/likes/7"],
      ["GET", "/v1/subjects/a/1/likes/7"],
      ["GET", "/v1/actors/7"],
      ["GET", "/v1/actors/7/likes"],
      ["GET", "/v1/subjects"],
      ["POST", "/v1/query", '{"subjects":["a/1"]}'],
      ["GET", "/v1/history/a/1/views"],
      ["GET", "/v1/top/a/views"],
      ["POST", "/v1/events"],
      ["PUT", "/v1/subjects/a/1/views", '{"count":1}'],
      ["POST", "/v1/merge", '{"from":"a/1","to":"a/2"}'],
      ["DELETE", "/v1/subjects/a/1"],
      ["DELETE", "/v1/actors/7"],
      ["GET", "/v1/stats"],
      ["GET", "/healthz"],
      ["GET", "/readyz"],
      ["GET", "/metrics"],
      ["HEAD", "/v1/stream?subject=a/1"],
      ["POST", "/v1/stream"],
      ["GET", "/nowhere"],
    ];
    const refused = ["POST /v1/stream", "other"];
    for (const [method, path, body] of requests)
      await send(method, path, body ? { body, headers: { "content-type": "application/json" } } : {});
    expect(totals().routes.map(({ route, answers }) => [route, ...answers])).toEqual(
      ROUTES.map((route) => (refused.includes(route) ? [route, 0, 0, 1, 0] : [route, 1, 0, 0, 0])),
    );
    expect([...totals().events.subarray(0, 3)]).toEqual([0, 1, 2]);
  });

  test("gives each answer its own id, whatever is answered before it is sent", async () => {
    const { handle } = open();
    const answers = ["1", "2", "3"].map((id) =>
      handle(new Request(`http://127.0.0.1/v1/subjects/a/${id}`, { headers: { "x-request-id": `id-${id}` } })),
    );
    const ids = (await Promise.all(answers)).map((answer) => answer.headers.get("x-request-id"));
    expect(ids).toEqual(["id-1", "id-2", "id-3"]);
  });

  test("renders a refusal of the port, with its headers, and counts nothing", async () => {
    class Full extends MemoryCounting {
      override add(): number {
        throw unavailable("the table is full", 2);
      }
      override async relate(): Promise<never> {
        throw unavailable("the disk is full");
      }
    }
    const { send, totals, errors } = open({ counting: new Full() });
    const full = await send("POST", "/v1/subjects/a/1/views");
    expect(full.status).toBe(503);
    expect(full.headers.get("retry-after")).toBe("2");
    expect(full.json).toMatchObject({ type: "/problems/unavailable", detail: "the table is full" });
    expect((await send("PUT", "/v1/subjects/a/1/likes/7")).headers.get("retry-after")).toBe("1");
    expect([...totals().events.subarray(0, 3)]).toEqual([0, 0, 0]);
    expect(errors).toEqual([]);
  });

  test("answers a bug with 500, tells the log, and keeps the details from the caller", async () => {
    class Broken extends MemoryCounting {
      override add(): number {
        throw new TypeError("secret path");
      }
      override async relate(): Promise<never> {
        throw new TypeError("secret path");
      }
    }
    const { send, errors } = open({ counting: new Broken() });
    for (const [method, path] of [
      ["POST", "/v1/subjects/a/1/views"],
      ["PUT", "/v1/subjects/a/1/likes/7"],
    ] as const) {
      const answer = await send(method, path);
      expect(answer.status).toBe(500);
      expect(answer.text).not.toContain("secret");
      expect(answer.json.detail).toContain(answer.headers.get("x-request-id"));
    }
    expect(errors).toHaveLength(2);
  });

  test("knows metrics that were added meanwhile", async () => {
    let metrics = METRICS;
    const { send } = open({ metrics: () => metrics });
    expect((await send("POST", "/v1/subjects/a/1/plays")).status).toBe(404);
    metrics = [...METRICS, { id: 3, name: "plays", kind: "tally" }];
    expect((await send("POST", "/v1/subjects/a/1/plays")).status).toBe(200);
    expect((await send("GET", "/v1/subjects/a/1")).json.counts).toEqual({ views: 0, likes: 0, plays: 1 });
  });

  test("knows only the configured types", async () => {
    const { send } = open({ settings: { ...SETTINGS, types: ["article", "user"] } });
    expect((await send("POST", "/v1/subjects/user/1/views")).status).toBe(200);
    for (const [method, path] of [
      ["POST", "/v1/subjects/video/1/views"],
      ["GET", "/v1/subjects/video/1"],
      ["GET", "/v1/actors/7/likes?type=video"],
    ] as const) {
      const answer = await send(method, path);
      expect(answer.json).toMatchObject({ type: "/problems/unknown-type", status: 404 });
      expect(answer.json.detail).toContain("article, user");
    }
  });

  test("is ready or not", async () => {
    let health: Health = { status: "degraded", parts: { kafka: { status: "down", since: "2026-01-01T00:00:00Z" } } };
    const { send } = open({ health: () => health });
    expect(await send("GET", "/readyz")).toMatchObject({ status: 200, json: health });
    for (const status of ["starting", "draining", "unable"] as const) {
      health = { status, parts: {} };
      const answer = await send("GET", "/readyz");
      expect(answer).toMatchObject({ status: 503, json: health });
      expect(answer.headers.get("content-type")).toBe("application/json");
    }
  });

  test("reads a path that is no URL, as Bun gives it where the Host is none", async () => {
    const { handle } = open({ settings: { ...SETTINGS, open: true } });
    const raw = (url: string, method = "POST") => {
      const request = new Request("http://127.0.0.1/", { method });
      Object.defineProperty(request, "url", { value: url });
      return handle(request);
    };
    expect((await raw("/v1/subjects/a/1/views")).status).toBe(200);
    expect((await raw("/v1/subjects/a/%C3%A9/views?x#y")).status).toBe(200);
    for (const id of [".", "..", "%2e"]) expect((await raw(`/v1/subjects/a/${id}/views`)).status).toBe(404);
    for (const id of ["\u00e9", "\u00ff", "a\\b\u0001"])
      expect((await raw(`/v1/subjects/a/${id}/views`)).status).toBe(400);
  });
});
