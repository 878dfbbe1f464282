import { describe, expect, test } from "bun:test";
import { type Api, type Deployment, expectProblem, freshSubject, useServer } from "../support/contract.ts";

const bearer = (key: string) => ({ headers: { authorization: `Bearer ${key}` } });

function expectUnauthorized(reply: Awaited<ReturnType<Api["get"]>>): void {
  expectProblem(reply, 401, "unauthorized");
  expect(reply.headers.get("www-authenticate")).toStartWith("Bearer");
}

/** Who may do what. */
export function access(deployment: Deployment): void {
  describe("protected mode", () => {
    const api = useServer(deployment, { args: ["--cors-origins", "https://site.example"] });

    test("lets this machine do everything, by any of its names", async () => {
      const { port } = new URL(api.url);
      for (const host of [`127.0.0.1:${port}`, `localhost:${port}`, "LOCALHOST", "127.1.2.3", "[::1]:9", "a.localhost"])
        expect((await api.post(`${freshSubject().path}/views`, { headers: { host } })).status).toBe(200);
    });

    test("refuses what a proxy passes on", async () => {
      for (const name of ["Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "x-forwarded-proto", "X-Forwarded-Odd"])
        for (const path of ["/v1/subjects/a/1", "/healthz", "/nowhere"])
          expectProblem(await api.get(path, { headers: { [name]: "1.2.3.4" } }), 403, "protected");
    });

    test("refuses a foreign Host", async () => {
      for (const host of ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "a@localhost", "1.2.3.4"])
        expectProblem(await api.post(`${freshSubject().path}/views`, { headers: { host } }), 403, "protected");
    });

    test("refuses a page of another origin", async () => {
      const one = api.node(0);
      const post = (origin: string) => one.post(`${freshSubject().path}/views`, { headers: { origin } });
      const own = new URL(one.url).origin;
      for (const origin of [own, "https://site.example"]) expect((await post(origin)).status).toBe(200);
      for (const origin of ["https://evil.example", "null", "http://localhost:1", "https://site.example.evil", ""])
        expectProblem(await post(origin), 403, "protected");
    });
  });

  describe("--open", () => {
    const api = useServer(deployment, { args: ["--open"] });

    test("lets everyone write, through proxies and pages too, and nobody administer", async () => {
      const headers = { "x-forwarded-for": "1.2.3.4", origin: "https://evil.example", host: "counts.example" };
      const { path } = freshSubject();
      expect((await api.post(`${path}/views`, { headers })).status).toBe(200);
      expect((await api.put(`${path}/likes/7`, { headers })).status).toBe(200);
      expect((await api.get(path, { headers })).status).toBe(200);
      const dated = await api.post(`${path}/views`, { headers, json: { at: "2026-01-01T00:00:00Z" } });
      expectProblem(dated, 403, "forbidden");
    });
  });

  describe("keys", () => {
    const env = { TALLY_KEYS: "admin:s-admin,write:s-write,count:s-count,read:s-read" };
    const api = useServer(deployment, { env });

    test("may do what their role includes", async () => {
      const { path } = freshSubject();
      const allowed = async (key: string) => [
        (await api.get(path, bearer(key))).status,
        (await api.post(`${path}/views`, bearer(key))).status,
        (await api.put(`${path}/likes/7`, bearer(key))).status,
        (await api.delete(`${path}/likes/7`, bearer(key))).status,
        (await api.get("/metrics", bearer(key))).status,
      ];
      const administered = async (key: string) => [
        (await api.put(`${path}/views`, { ...bearer(key), json: { count: 1 } })).status,
        (await api.post("/v1/merge", { ...bearer(key), json: { from: "a/1", to: "a/2" } })).status,
        (await api.delete("/v1/actors/nobody", bearer(key))).status,
        (await api.delete(freshSubject().path, bearer(key))).status,
      ];
      expect(await allowed("s-read")).toEqual([200, 403, 403, 403, 200]);
      expect(await allowed("s-count")).toEqual([200, 200, 403, 403, 200]);
      expect(await allowed("s-write")).toEqual([200, 200, 200, 200, 200]);
      expect(await allowed("s-admin")).toEqual([200, 200, 200, 200, 200]);
      expect(await administered("s-write")).toEqual([403, 403, 403, 403]);
      expect(await administered("s-admin")).toEqual([200, 200, 200, 200]);
      expectProblem(await api.post(`${path}/views`, bearer("s-read")), 403, "forbidden");
      const json = { at: "2026-01-01T00:00:00Z" };
      expectProblem(await api.post(`${path}/views`, { ...bearer("s-write"), json }), 403, "forbidden");
      expectProblem(await api.put(`${path}/likes/7`, { ...bearer("s-write"), json }), 403, "forbidden");
      expect((await api.post(`${path}/views`, { ...bearer("s-admin"), json })).status).toBe(200);
    });

    test("without one, or with a wrong one: 401", async () => {
      const { path } = freshSubject();
      for (const reply of [
        await api.get(path),
        await api.post(`${path}/views`),
        await api.put(`${path}/likes/7`),
        await api.get("/metrics"),
        await api.get(path, bearer("wrong")),
        await api.get(path, bearer("S-READ")),
        await api.get(path, bearer("")),
        await api.get(path, { headers: { authorization: "Basic czpyZWFk" } }),
        await api.get(path, { headers: { authorization: "s-read" } }),
        await api.post(`${path}/views`, { body: "{" }),
      ])
        expectUnauthorized(reply);
      expect((await api.get(path, { headers: { authorization: "bearer  s-read" } })).status).toBe(200);
    });

    test("health asks for none", async () => {
      expect((await api.get("/healthz")).status).toBe(200);
      expect((await api.get("/readyz", bearer("wrong"))).status).toBe(200);
    });

    test("lift protected mode", async () => {
      const headers = { ...bearer("s-read").headers, "x-forwarded-for": "1.2.3.4", host: "counts.example" };
      expect((await api.get(freshSubject().path, { headers })).status).toBe(200);
    });

    test("have their own idempotency keys", async () => {
      const path = `${freshSubject().path}/views`;
      const once = (key: string) => api.post(path, { headers: { ...bearer(key).headers, "idempotency-key": "k" } });
      expect((await once("s-count")).json).toEqual({ count: 1 });
      expect((await once("s-count")).json).toEqual({ count: 1 });
      expect((await once("s-write")).json).toEqual({ count: 2 });
    });
  });

  describe("--anonymous", () => {
    describe("count", () => {
      const api = useServer(deployment, { env: { TALLY_KEYS: "admin:s" }, args: ["--anonymous", "count"] });
      test("lets everyone read and count", async () => {
        const { path } = freshSubject();
        expect((await api.get(path)).status).toBe(200);
        expect((await api.post(`${path}/views`)).status).toBe(200);
        expectUnauthorized(await api.put(`${path}/likes/7`));
        expectUnauthorized(await api.get(path, bearer("wrong")));
      });
    });

    describe("read", () => {
      const api = useServer(deployment, { env: { TALLY_KEYS: "admin:s" }, args: ["--anonymous", "read"] });
      test("lets everyone read", async () => {
        const { path } = freshSubject();
        expect((await api.get(path)).status).toBe(200);
        expectUnauthorized(await api.post(`${path}/views`));
      });
    });
  });

  describe("JWT settings alone", () => {
    const api = useServer(deployment, { env: { TALLY_JWT_SECRET: "a-secret-that-is-long-enough-for-hs256" } });
    test("nobody gets in yet", async () => {
      expectUnauthorized(await api.get(freshSubject().path));
      expectUnauthorized(await api.get(freshSubject().path, bearer("a-secret-that-is-long-enough-for-hs256")));
    });
  });
}
