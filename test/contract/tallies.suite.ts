import { describe, expect, test } from "bun:test";
import { type Api, expectBadInput, expectProblem, freshSubject } from "../support/contract.ts";

/** Events that add up, and the bodies they come in. */
export function tallies(api: Api): void {
  describe("POST /v1/subjects/{type}/{id}/{tally}", () => {
    test("counts one, and tells the count", async () => {
      const { path } = freshSubject();
      const first = await api.post(`${path}/views`);
      expect(first.status).toBe(200);
      expect(first.text).toBe('{"count":1}');
      expect(first.headers.get("content-type")).toBe("application/json");
      expect((await api.post(`${path}/views`)).json).toEqual({ count: 2 });
      expect((await api.post(`${path}/shares`)).json).toEqual({ count: 1 });
      expect((await api.get(path)).json.counts).toMatchObject({ views: 2, shares: 1 });
    });

    test("counts `by`, 1 to 1,000,000", async () => {
      const { path } = freshSubject();
      expect((await api.post(`${path}/views`, { json: { by: 3 } })).json).toEqual({ count: 3 });
      expect((await api.post(`${path}/views`, { json: { by: 1_000_000 } })).json).toEqual({ count: 1_000_003 });
      expect((await api.post(`${path}/views`, { json: {} })).json).toEqual({ count: 1_000_004 });
      expect((await api.post(`${path}/views`, { json: { actor: "7" } })).json).toEqual({ count: 1_000_005 });
      for (const by of [0, -1, 1.5, 1_000_001, "3", null, true, [], 2 ** 53])
        expectBadInput(await api.post(`${path}/views`, { json: { by } }), "/by");
      expect((await api.get(`${path}/views`)).json.count).toBe(1_000_005);
    });

    test("a number that JSON cannot hold is refused", async () => {
      const headers = { "content-type": "application/json" };
      expectBadInput(await api.post(`${freshSubject().path}/views`, { headers, body: '{"by":1e999}' }), "/by");
    });

    test("checks the actor", async () => {
      const path = `${freshSubject().path}/views`;
      for (const actor of ["", ".", "..", "a\u0000b", "\ud800", "x".repeat(129), "é".repeat(65), 7, null])
        expectBadInput(await api.post(path, { json: { actor } }), "/actor");
      expectBadInput(await api.post(path, { json: { actor: "me" } }), "/actor");
    });

    test("tells everything that is wrong at once, unknown fields too", async () => {
      const reply = await api.post(`${freshSubject().path}/views`, {
        json: { by: 0, actor: "", count: 3, "a/b~c": 1 },
      });
      expectBadInput(reply, "/by", "/actor", "/count", "/a~1b~0c");
      const headers = { "content-type": "application/json" };
      expectBadInput(
        await api.post(`${freshSubject().path}/views`, { headers, body: '{"__proto__":{"by":3}}' }),
        "/__proto__",
      );
    });

    test("Prefer: return=minimal is answered 204", async () => {
      const { path } = freshSubject();
      for (const prefer of ["return=minimal", "respond-async, return=minimal", 'RETURN="minimal"; x=1']) {
        const reply = await api.post(`${path}/views`, { headers: { prefer } });
        expect(reply.status).toBe(204);
        expect(reply.text).toBe("");
        expect(reply.headers.get("preference-applied")).toBe("return=minimal");
      }
      const other = await api.post(`${path}/views`, { headers: { prefer: "return=representation" } });
      expect(other.json).toEqual({ count: 4 });
      expect(other.headers.get("preference-applied")).toBeNull();
    });

    test("many at once are each counted", async () => {
      const { path } = freshSubject();
      const one = api.node(0);
      const replies = await Promise.all(Array.from({ length: 200 }, () => one.post(`${path}/views`)));
      const counts = replies.map((reply) => reply.json.count).sort((a, b) => a - b);
      expect(counts.at(-1)).toBe(200);
      expect((await api.get(`${path}/views`)).json.count).toBe(200);
    });

    test("up to the largest count, which no addition passes; set lower, additions are taken again at once", async () => {
      const { subject, path } = freshSubject();
      const views = `${path}/views`;
      const MAX = 2 ** 53 - 1;
      const one = api.node(0).alone();
      const counted = async () => {
        const { json } = await one.post("/v1/query", { json: { subjects: [subject], metrics: ["views"] } });
        return [(await one.get(views)).json.count, json.items[0].counts.views];
      };
      expect((await one.put(views, { json: { count: MAX - 1 } })).json).toEqual({ count: MAX - 1 });
      expect((await one.post(views)).json).toEqual({ count: MAX });
      expectBadInput(await one.post(views), "/by");
      expect(await counted()).toEqual([MAX, MAX]);
      // What is more than a whole body may have said: each of its lines counts, and none shows.
      const lines = { "Content-Type": "text/plain", "Idempotency-Key": crypto.randomUUID() };
      await one.post("/v1/events", { headers: lines, body: `views ${subject} 5\n` });
      expect(await counted()).toEqual([MAX, MAX]);
      const keyed = await one.post(views, { headers: { "Idempotency-Key": crypto.randomUUID() }, json: { by: 5 } });
      expect(keyed.status === 200 ? keyed.json.count : MAX).toBe(MAX);
      expect(await counted()).toEqual([MAX, MAX]);
      for (let i = 0; i < api.urls.length; i++) {
        const { status, json } = await api.node(i).alone().post(views);
        // Another node has not seen this one's addition; nobody shows more than there can be.
        expect(status === 200 ? json.count : MAX).toBe(MAX);
      }
      expect((await one.put(views, { json: { count: 5 } })).json).toEqual({ count: 5 });
      for (let i = 0; i < api.urls.length; i++) {
        const { status, json } = await api.node(i).alone().post(views);
        expect([status, json.count < 20]).toEqual([200, true]);
      }
    });

    test("a relation is the wrong kind; an unknown metric is named with those there are", async () => {
      const { path } = freshSubject();
      expectProblem(await api.post(`${path}/likes`), 400, "wrong-kind");
      const unknown = await api.post(`${path}/clicks`);
      expectProblem(unknown, 404, "unknown-metric");
      for (const name of ["views", "shares", "likes", "favorites", "follows"])
        expect(unknown.json.detail).toContain(name);
      for (const name of ["Views", "__proto__", "constructor", "%20views"])
        expectProblem(await api.post(`${path}/${name}`), 404, "unknown-metric");
    });
  });

  describe("a body", () => {
    const path = `${freshSubject().path}/views`;

    test("must be application/json; parameters are ignored", async () => {
      for (const type of ["application/json; charset=utf-8", "APPLICATION/JSON", "application/json;charset=latin1"])
        expect((await api.post(path, { headers: { "content-type": type }, body: '{"by":1}' })).status).toBe(200);
      for (const type of ["text/plain", "application/x-www-form-urlencoded", "application/problem+json", "json"])
        expectProblem(
          await api.post(path, { headers: { "content-type": type }, body: '{"by":1}' }),
          415,
          "wrong-content-type",
        );
      expectProblem(await api.post(path, { body: new TextEncoder().encode('{"by":1}') }), 415, "wrong-content-type");
    });

    test("may be empty, whatever its type", async () => {
      for (const type of ["application/json", "text/plain"])
        expect((await api.post(path, { headers: { "content-type": type }, body: "" })).status).toBe(200);
    });

    test("that is no JSON is refused with the place", async () => {
      const headers = { "content-type": "application/json" };
      for (const [body, place] of [
        ['{"by": x}', "line 1, column 8"],
        ['{\n  "by": 1,\n}', "line 3, column 1"],
        ['{"by": 1', "line 1, column 9"],
        ["nope", "line 1, column 1"],
        ["   ", "line 1, column 4"],
        ['{"by": 1} x', "line 1, column 11"],
      ] as const) {
        const reply = await api.post(path, { headers, body });
        expectBadInput(reply, "");
        expect(reply.json.detail).toContain(place);
      }
      expectBadInput(await api.post(path, { headers, body: new Uint8Array([0x22, 0xff, 0x22]) }), "");
      expectBadInput(await api.post(path, { headers, body: "[".repeat(60_000) }), "");
    });

    test("must be an object", async () => {
      for (const json of [[], null, 3, "by", [{ by: 1 }]]) expectBadInput(await api.post(path, { json }), "");
    });

    test("has at most 64 KiB, chunked or not", async () => {
      const headers = { "content-type": "application/json" };
      const body = (bytes: number) => `{"by":1}${" ".repeat(bytes - 8)}`;
      expect((await api.post(path, { headers, body: body(65_536) })).status).toBe(200);
      expectProblem(await api.post(path, { headers, body: body(65_537) }), 413, "too-large");
      const chunks = new ReadableStream({
        start(controller) {
          for (let i = 0; i < 3; i++) controller.enqueue(new TextEncoder().encode(" ".repeat(30_000)));
          controller.close();
        },
      });
      const answer = await fetch(new URL(path, api.url), { method: "POST", headers, body: chunks });
      expect(answer.status).toBe(413);
    });
  });
}
