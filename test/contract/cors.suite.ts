import { describe, expect, test } from "bun:test";
import { type Api, type Deployment, expectProblem, freshSubject, type Reply, useServer } from "../support/contract.ts";
import { EventReader } from "../support/event-reader.ts";

const SITE = "https://site.example";
const bearer = (key: string) => ({ authorization: `Bearer ${key}` });

function preflight(api: Api, path: string, origin: string, method = "PUT"): Promise<Reply> {
  const headers = {
    origin,
    "access-control-request-method": method,
    "access-control-request-headers": "authorization,content-type,idempotency-key,last-event-id,prefer",
  };
  return api.send("OPTIONS", path, { headers });
}

function expectAllowed({ headers }: Reply, origin: string): void {
  expect(headers.get("access-control-allow-origin")).toBe(origin);
  expect(headers.get("access-control-expose-headers")).toBe("Retry-After, X-Request-Id");
  expect(headers.get("access-control-allow-credentials")).toBeNull();
}

function expectUnmarked({ headers }: Reply): void {
  expect([...headers.keys()].filter((name) => name.startsWith("access-control-"))).toEqual([]);
}

/** Pages of other origins. */
export function cors(deployment: Deployment): void {
  describe("--cors-origins", () => {
    const env = { TALLY_KEYS: "write:s-write,read:s-read" };
    const args = ["--cors-origins", `${SITE},http://localhost:3000`];
    const api = useServer(deployment, { env, args });
    const { path } = freshSubject();

    test("a browser that asks first is told what it may send, on any address and without a key", async () => {
      for (const address of [path, `${path}/views`, `${path}/likes/7`, "/v1/stream", "/v1/query", "/nowhere"]) {
        const reply = await preflight(api, address, SITE);
        expect([reply.status, reply.text]).toEqual([204, ""]);
        expectAllowed(reply, SITE);
        const list = (name: string) => new Set(reply.headers.get(name)?.toLowerCase().split(", "));
        expect(list("access-control-allow-methods")).toEqual(new Set(["get", "head", "post", "put", "delete"]));
        expect(list("access-control-allow-headers")).toEqual(
          new Set(["authorization", "content-type", "idempotency-key", "prefer", "last-event-id"]),
        );
        expect(reply.headers.get("access-control-max-age")).toBe("86400");
        expect(reply.headers.get("vary")).toBe("Origin");
      }
      expectAllowed(await preflight(api, path, "http://localhost:3000"), "http://localhost:3000");
    });

    test("its page may read every answer, errors too", async () => {
      const headers = { origin: SITE, ...bearer("s-write") };
      for (const [reply, status] of [
        [await api.post(`${path}/views`, { headers }), 200],
        [await api.put(`${path}/likes/7`, { headers }), 200],
        [await api.get(path, { headers }), 200],
        [await api.get(`${path}?actor=%ff`, { headers }), 400],
        [await api.post(`${path}/views`, { headers, json: { by: 0 } }), 400],
        [await api.get(path, { headers: { origin: SITE } }), 401],
        [await api.post(`${path}/views`, { headers: { origin: SITE, ...bearer("s-read") } }), 403],
        [await api.get("/nowhere", { headers }), 404],
        [await api.put(path, { headers }), 405],
        [await api.post(`${path}/views`, { headers, body: "{}" }), 415],
        [await api.send("OPTIONS", path, { headers }), 204],
      ] as const) {
        expect(reply.status, reply.text).toBe(status);
        expectAllowed(reply, SITE);
        expect(reply.headers.get("vary")).toBe("Origin");
      }
    });

    test("and streams", async () => {
      const headers = { origin: SITE, ...bearer("s-read") };
      const reader = await EventReader.follow(api.url, [freshSubject().subject], ["likes"], headers);
      await reader.until(1);
      expect(reader.answer.headers.get("access-control-allow-origin")).toBe(SITE);
      expect(reader.answer.headers.get("vary")).toBe("Origin");
      await reader.close();
    });

    test("pages of other origins are told nothing", async () => {
      for (const origin of [
        "https://evil.example",
        "http://site.example",
        `${SITE}:8443`,
        `${SITE}.evil.example`,
        "null",
        "",
      ]) {
        const before = await preflight(api, path, origin);
        expectUnmarked(before);
        const reply = await api.get(path, { headers: { origin, ...bearer("s-read") } });
        expect(reply.status).toBe(200);
        expectUnmarked(reply);
        expect(reply.headers.get("vary")).toBe("Origin");
      }
    });

    test("a request of no page costs no header", async () => {
      const reply = await api.get(path, { headers: bearer("s-read") });
      expectUnmarked(reply);
      expect(reply.headers.get("vary")).toBeNull();
    });
  });

  describe("--cors-origins *", () => {
    const api = useServer(deployment, { env: { TALLY_KEYS: "read:s-read" }, args: ["--cors-origins", "*"] });

    test("is every page's", async () => {
      const { path } = freshSubject();
      for (const origin of [SITE, "null", "http://127.0.0.1:9"]) {
        expectAllowed(await preflight(api, path, origin), "*");
        const reply = await api.get(path, { headers: { origin } });
        expectProblem(reply, 401, "unauthorized");
        expectAllowed(reply, "*");
        expect(reply.headers.get("vary")).toBeNull();
      }
    });
  });

  describe("--cors-origins in protected mode", () => {
    const api = useServer(deployment, { args: ["--cors-origins", SITE] });

    test("lets those pages in, and no others", async () => {
      const { path } = freshSubject();
      const post = (origin: string) => api.post(`${path}/views`, { headers: { origin } });
      expectAllowed(await preflight(api, path, SITE), SITE);
      expectAllowed(await post(SITE), SITE);
      expectProblem(await preflight(api, path, "https://evil.example"), 403, "protected");
      const refused = await post("https://evil.example");
      expectProblem(refused, 403, "protected");
      expectUnmarked(refused);
    });
  });

  describe("without --cors-origins", () => {
    const api = useServer(deployment, { env: { TALLY_KEYS: "read:s-read" } });

    test("no page may read", async () => {
      const { path } = freshSubject();
      const reply = await preflight(api, path, SITE);
      expect([reply.status, reply.headers.get("allow")]).toEqual([204, expect.stringContaining("GET, HEAD, ")]);
      for (const answer of [reply, await api.get(path, { headers: { origin: SITE, ...bearer("s-read") } })]) {
        expectUnmarked(answer);
        expect(answer.headers.get("vary")).toBeNull();
      }
    });
  });
}
