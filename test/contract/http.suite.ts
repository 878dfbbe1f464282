import { describe, expect, test } from "bun:test";
import { Connection } from "../support/connection.ts";
import { type Api, expectBadInput, expectProblem, freshSubject } from "../support/contract.ts";

/** What holds for every request: methods, addresses, headers, health. */
export function http(api: Api): void {
  test.each([
    [
      "an address that is too long",
      `GET /v1/subjects/article/${"x".repeat(16_500)} HTTP/1.1\r\nhost: a\r\n\r\n`,
      "431",
    ],
    ["what is no HTTP", "GET\r\n\r\n", "400"],
  ])("%s is answered with a bare status, and the connection ends", async (_, head, status) => {
    const { hostname, port } = new URL(api.url);
    let answer = "";
    const { promise: closed, resolve } = Promise.withResolvers<void>();
    const socket = await Bun.connect({
      hostname,
      port: Number(port),
      socket: {
        data(_socket, bytes) {
          answer += bytes.toString();
        },
        close: () => resolve(),
      },
    });
    socket.write(head);
    await closed;
    expect(answer).toStartWith(`HTTP/1.1 ${status} `);
    const { path } = freshSubject();
    expect((await api.post(`${path}/views`)).status).toBe(200);
  });

  describe("methods", () => {
    const { path } = freshSubject();
    const ROUTES: [path: string, allow: string][] = [
      [path, "GET, HEAD, DELETE, OPTIONS"],
      [`${path}/views`, "GET, HEAD, POST, PUT, OPTIONS"],
      [`${path}/likes/7`, "GET, HEAD, PUT, DELETE, OPTIONS"],
      ["/v1/actors/7", "GET, HEAD, DELETE, OPTIONS"],
      ["/v1/actors/7/likes", "GET, HEAD, OPTIONS"],
      ["/v1/subjects", "GET, HEAD, OPTIONS"],
      ["/v1/query", "POST, OPTIONS"],
      ["/v1/merge", "POST, OPTIONS"],
      ["/healthz", "GET, HEAD, OPTIONS"],
      ["/readyz", "GET, HEAD, OPTIONS"],
      ["/metrics", "GET, HEAD, OPTIONS"],
    ];

    test.each(ROUTES)("%s: OPTIONS is 204, another method 405, both with Allow", async (path, allow) => {
      const options = await api.send("OPTIONS", path);
      expect([options.status, options.text, options.headers.get("allow")]).toEqual([204, "", allow]);
      for (const method of ["PATCH", "POST", "PUT", "DELETE"]) {
        if (allow.includes(method)) continue;
        const reply = await api.send(method, path);
        expectProblem(reply, 405, "method-not-allowed");
        expect(reply.headers.get("allow")).toBe(allow);
      }
    });

    test.each(ROUTES.filter(([path, allow]) => path !== "/metrics" && allow.includes("HEAD")))(
      "%s: HEAD is GET without the body",
      async (path) => {
        const get = await api.get(path);
        const head = await api.send("HEAD", path);
        expect(head.status).toBe(200);
        expect(head.text).toBe("");
        const own = ["content-type", "content-length", "cache-control"];
        expect(own.map((name) => head.headers.get(name))).toEqual(own.map((name) => get.headers.get(name)));
      },
    );

    test("HEAD tells errors by their status", async () => {
      expect((await api.send("HEAD", "/nowhere")).status).toBe(404);
      expect((await api.send("HEAD", `${path}/clicks`)).status).toBe(404);
      expect((await api.send("HEAD", `${path}/views/7`)).status).toBe(400);
    });
  });

  describe("addresses that are none", () => {
    test.each(["/", "/v1", "/v1/", "/v1/subjects/a", "/v1/subjects/a/1/likes/7/8", "/v2/subjects/a/1", "/healthz/"])(
      "%s: 404",
      async (path) => {
        for (const method of ["GET", "POST", "PUT", "DELETE", "OPTIONS"])
          expectProblem(await api.send(method, path), 404, "not-found");
      },
    );

    test("an escaped literal is no other spelling of a route", async () => {
      expectProblem(await api.get("/v1/%73ubjects/a/1"), 404, "not-found");
      expectProblem(await api.get("/V1/subjects/a/1"), 404, "not-found");
    });
  });

  describe("X-Request-Id", () => {
    test("is on every answer, and another one each time", async () => {
      const ids = new Set<string | null>();
      for (const path of ["/healthz", "/nowhere", freshSubject().path, "/v1/actors/%ff", "/metrics"])
        ids.add((await api.get(path)).headers.get("x-request-id"));
      expect(ids.size).toBe(5);
    });

    test("is the caller's own if it is 1 to 128 visible ASCII characters", async () => {
      const answered = async (id: string) =>
        (await api.post(`${freshSubject().path}/views`, { headers: { "x-request-id": id } })).headers.get(
          "x-request-id",
        );
      for (const id of ["abc-123", "x".repeat(128), '{"a":1}']) expect(await answered(id)).toBe(id);
      for (const id of ["", "a b", "x".repeat(129), "\u00e9"]) expect(await answered(id)).not.toBe(id);
      const refused = await api.get("/nowhere", { headers: { "x-request-id": "mine" } });
      expect(refused.headers.get("x-request-id")).toBe("mine");
    });
  });

  describe("answers", () => {
    test("to GET may not be kept, errors too", async () => {
      for (const path of ["/healthz", "/readyz", "/metrics", "/nowhere", freshSubject().path, "/v1/actors/7/likes"])
        expect((await api.get(path)).headers.get("cache-control")).toBe("no-store");
    });

    test("unknown parameters are ignored, broken ones refused", async () => {
      const { path } = freshSubject();
      expect((await api.get(`${path}?utm_source=x&limit=0&__proto__=1&constructor=2`)).status).toBe(200);
      expect((await api.post(`${path}/views?by=3&cache=bust`)).json).toEqual({ count: 1 });
      expectBadInput(await api.get(`${path}?x=%ff`), "x");
      expectBadInput(await api.get(`${path}/likes?limit=5&x=%zz`), "x");
    });

    test("errors say what, where and how", async () => {
      const reply = await api.post(`${freshSubject().path}/views`, { json: { by: 0 } });
      expect(reply.json).toEqual({
        type: "/problems/bad-input",
        title: expect.any(String),
        status: 400,
        detail: expect.stringContaining("/by"),
        errors: [{ at: "/by", message: "must be an integer from 1 to 1000000" }],
      });
    });
  });

  describe("bytes as they come", () => {
    test("a target that is no URL, an odd Host, bytes outside ASCII", async () => {
      const connection = await Connection.open(api.url);
      const send = async (method: string, path: string) => (await connection.send(method, path)).status;
      expect(await send("POST", "/v1/subjects/raw/%C3%A9/views")).toBe(200);
      expect(await send("GET", "/v1/subjects/raw/%ff")).toBe(400);
      expect(await send("GET", "//v1/subjects/raw/1")).toBe(404);
      expect(await send("GET", "/v1/subjects/raw/a|b")).toBe(200);
      expect(await send("GET", "/v1/subjects/raw/1?actor=a|b")).toBe(200);
      connection.close();
    });
  });

  describe("health", () => {
    test("/healthz and /readyz", async () => {
      expect((await api.get("/healthz")).status).toBe(200);
      const ready = await api.get("/readyz");
      expect(ready.status).toBe(200);
      expect(ready.json.status).toBe("ready");
      expect(ready.json.parts).toBeObject();
    });
  });

  describe("/metrics", () => {
    const value = (text: string, series: string) =>
      Number(
        text
          .split("\n")
          .find((line) => line.startsWith(`${series} `))
          ?.slice(series.length + 1) ?? 0,
      );

    test("counts requests and events over all threads", async () => {
      const series = {
        answers: 'tally_http_requests_total{method="POST",route="/v1/subjects/:type/:id/:metric",status="2xx"}',
        refused: 'tally_http_requests_total{method="POST",route="/v1/subjects/:type/:id/:metric",status="4xx"}',
        times: 'tally_http_request_duration_seconds_count{method="POST",route="/v1/subjects/:type/:id/:metric"}',
        views: 'tally_events_total{metric="views"}',
      };
      const one = api.node(0);
      const before = (await one.get("/metrics")).text;
      const { path } = freshSubject();
      await Promise.all(Array.from({ length: 40 }, () => one.post(`${path}/views`, { json: { by: 3 } })));
      await one.post(`${path}/likes`);
      const reply = await one.get("/metrics");
      expect(reply.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
      const risen = (name: keyof typeof series) => value(reply.text, series[name]) - value(before, series[name]);
      expect([risen("answers"), risen("refused"), risen("times"), risen("views")]).toEqual([40, 1, 41, 120]);
      expect(value(reply.text, "process_resident_memory_bytes")).toBeGreaterThan(0);
    });
  });
}
