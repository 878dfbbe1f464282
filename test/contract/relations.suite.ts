import { describe, expect, test } from "bun:test";
import { type Api, expectBadInput, expectProblem, freshSubject } from "../support/contract.ts";

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z$/;

/** Relations of one actor to one subject, and what reads show of them. */
export function relations(api: Api): void {
  describe("PUT, DELETE and GET /v1/subjects/{type}/{id}/{relation}/{actor}", () => {
    test("PUT makes it active once; a repeat tells the first time", async () => {
      const { path } = freshSubject();
      const before = Date.now();
      const first = await api.put(`${path}/likes/7`);
      expect(first.status).toBe(200);
      expect(first.json).toEqual({ active: true, changed: true, count: 1, at: expect.stringMatching(TIME) });
      expect(Date.parse(first.json.at)).toBeWithin(before - 1000, Date.now() + 1000);
      const again = await api.put(`${path}/likes/7`);
      expect(again.json).toEqual({ active: true, changed: false, count: 1, at: first.json.at });
      expect((await api.put(`${path}/likes/8`)).json).toMatchObject({ changed: true, count: 2 });
    });

    test("DELETE makes it inactive; of what never was, `at` is null", async () => {
      const { path } = freshSubject();
      const never = await api.delete(`${path}/likes/7`);
      expect(never.json).toEqual({ active: false, changed: false, count: 0, at: null });
      await api.put(`${path}/likes/7`);
      await api.put(`${path}/likes/8`);
      const gone = await api.delete(`${path}/likes/7`);
      expect(gone.json).toEqual({ active: false, changed: true, count: 1, at: expect.stringMatching(TIME) });
      expect((await api.delete(`${path}/likes/7`)).json).toEqual({ ...gone.json, changed: false });
      expect((await api.put(`${path}/likes/7`)).json).toMatchObject({ active: true, changed: true, count: 2 });
    });

    test("GET tells the state and the count", async () => {
      const { path } = freshSubject();
      const none = await api.get(`${path}/likes/7`);
      expect(none.text).toBe('{"active":false,"count":0,"at":null}');
      expect(none.headers.get("cache-control")).toBe("no-store");
      const { at } = (await api.put(`${path}/likes/7`)).json;
      expect((await api.get(`${path}/likes/7`)).json).toEqual({ active: true, count: 1, at });
      await api.delete(`${path}/likes/7`);
      expect((await api.get(`${path}/likes/7`)).json).toEqual({ active: false, count: 0, at: null });
    });

    test("of likes that race, one is told that it changed", async () => {
      const { path } = freshSubject();
      const replies = await Promise.all(Array.from({ length: 50 }, () => api.put(`${path}/likes/7`)));
      expect(replies.filter((reply) => reply.json.changed)).toHaveLength(1);
      expect(new Set(replies.map((reply) => reply.json.count))).toEqual(new Set([1]));
      const { at } = (await api.get(`${path}/likes/7`)).json;
      expect(replies.map((reply) => reply.json.at)).toContain(at);
    });

    test("relations and actors do not mix", async () => {
      const { path } = freshSubject();
      await api.put(`${path}/likes/7`);
      await api.put(`${path}/favorites/8`);
      expect((await api.get(`${path}/favorites/7`)).json).toEqual({ active: false, count: 1, at: null });
      expect((await api.get(`${path}?actor=7`)).json.mine).toEqual(["likes"]);
    });

    test("a tally is the wrong kind, `me` takes a caller with an actor", async () => {
      const { path } = freshSubject();
      for (const method of ["PUT", "DELETE", "GET"]) {
        expectProblem(await api.send(method, `${path}/views/7`), 400, "wrong-kind");
        expectProblem(await api.send(method, `${path}/claps/7`), 404, "unknown-metric");
        expectBadInput(await api.send(method, `${path}/likes/me`), "actor");
        expectBadInput(await api.send(method, `${path}/likes/%6de`), "actor");
      }
    });

    test("a body may be there, but nothing unknown in it", async () => {
      const { path } = freshSubject();
      expect((await api.put(`${path}/likes/7`, { json: {} })).json).toMatchObject({ changed: true });
      expectBadInput(await api.put(`${path}/likes/7`, { json: { by: 3 } }), "/by");
      expectProblem(await api.put(`${path}/likes/7`, { body: "x" }), 415, "wrong-content-type");
      expect((await api.delete(`${path}/likes/7`, { json: {} })).json).toMatchObject({ changed: true });
    });
  });

  describe("GET /v1/subjects/{type}/{id}", () => {
    test("has every metric, 0 where nothing was counted, in the configured order", async () => {
      const { path, subject } = freshSubject();
      const reply = await api.get(path);
      expect(reply.text).toBe(
        `{"subject":"${subject}","counts":{"views":0,"shares":0,"likes":0,"favorites":0,"follows":0}}`,
      );
      expect(reply.headers.get("cache-control")).toBe("no-store");
    });

    test("has `mine` with an actor only", async () => {
      const { path } = freshSubject();
      await api.put(`${path}/likes/7`);
      await api.put(`${path}/follows/7`);
      expect((await api.get(path)).json.mine).toBeUndefined();
      expect((await api.get(`${path}?actor=7`)).json).toMatchObject({
        mine: ["likes", "follows"],
        counts: { likes: 1 },
      });
      expect((await api.get(`${path}?actor=8`)).json.mine).toEqual([]);
      await api.delete(`${path}/likes/7`);
      expect((await api.get(`${path}?x=1&actor=7&y=%20`)).json.mine).toEqual(["follows"]);
    });

    test("checks the actor", async () => {
      const { path } = freshSubject();
      for (const actor of ["", "me", ".", "%00", "%ff", "%E0%80", "%", `${"x".repeat(129)}`])
        expectBadInput(await api.get(`${path}?actor=${actor}`), "actor");
      expectBadInput(await api.get(`${path}?actor=7&actor=8`), "actor");
      expectBadInput(await api.get(`${path}?a=1&actor=%ff`), "actor");
    });
  });

  describe("GET /v1/subjects/{type}/{id}/{metric}", () => {
    test("has the count of any metric", async () => {
      const { path, subject } = freshSubject();
      await api.post(`${path}/views`);
      await api.put(`${path}/likes/7`);
      expect((await api.get(`${path}/views`)).text).toBe(`{"subject":"${subject}","metric":"views","count":1}`);
      expect((await api.get(`${path}/likes`)).text).toBe(`{"subject":"${subject}","metric":"likes","count":1}`);
      expect((await api.get(`${path}/follows`)).json.count).toBe(0);
      expectProblem(await api.get(`${path}/clicks`), 404, "unknown-metric");
    });
  });
}
