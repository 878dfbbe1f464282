import { describe, expect, test } from "bun:test";
import {
  type Api,
  type Deployment,
  EMBEDDED,
  expectBadInput,
  expectProblem,
  freshSubject,
} from "../support/contract.ts";
import { eventually } from "../support/eventually.ts";
import { everyone, NONE, ODD, pathOf, runAgainstModel } from "./admin-random.ts";

const key = (key: string, json?: unknown) => ({ headers: { "idempotency-key": key }, ...(json ? { json } : {}) });

/** Where each set, erasure and merge waits for the ledger, or for a flush of other nodes. */
const STEPS_OF_STORES = 100;
const STEPS = 250;

/** What takes the role admin: set, erase, merge. */
export function admin(api: Api, deployment: Deployment): void {
  sets(api);
  erasures(api);
  actors(api);
  merges(api);
  describe("sets, erasures and merges among acts", () => {
    const isAlone = deployment === EMBEDDED;
    const steps = isAlone ? STEPS : STEPS_OF_STORES;
    for (const seed of isAlone ? [1, 2, 3] : [1]) {
      test(`come to what plain sets come to (seed ${seed})`, () => runAgainstModel(api, { seed, steps }), 120_000);
    }
  });
}

function sets(api: Api): void {
  describe("PUT /v1/subjects/{type}/{id}/{tally}", () => {
    test("makes the tally what it says, up or down, and counting goes on from there", async () => {
      const path = `${freshSubject().path}/views`;
      expect((await api.put(path, { json: { count: 1200 } })).json).toEqual({ count: 1200 });
      expect((await api.post(path)).json).toEqual({ count: 1201 });
      expect((await api.put(path, { json: { count: 5 } })).json).toEqual({ count: 5 });
      expect((await api.get(path)).json.count).toBe(5);
      expect((await api.put(path, { json: { count: 0 } })).text).toBe('{"count":0}');
      expect((await api.put(path, { json: { count: 2 ** 53 - 1 } })).json).toEqual({ count: 2 ** 53 - 1 });
      expect((await api.put(path, { json: { count: 7 } })).json).toEqual({ count: 7 });
      expect((await api.get(path)).json.count).toBe(7);
    });

    test("refuses what is no count, a relation, and what is not configured", async () => {
      const { path } = freshSubject();
      for (const count of [-1, 1.5, "3", null, 2 ** 53]) {
        expectBadInput(await api.put(`${path}/views`, { json: { count } }), "/count");
      }
      expectBadInput(await api.put(`${path}/views`), "/count");
      expectBadInput(await api.put(`${path}/views`, { json: { count: 1, by: 2 } }), "/by");
      expectProblem(await api.put(`${path}/likes`, { json: { count: 1 } }), 400, "wrong-kind");
      expectProblem(await api.put(`${path}/claps`, { json: { count: 1 } }), 404, "unknown-metric");
      expect((await api.get(`${path}/views`)).json.count).toBe(0);
    });

    test("with a key happens once", async () => {
      const path = `${freshSubject().path}/views`;
      expect((await api.put(path, key("s", { count: 10 }))).json).toEqual({ count: 10 });
      await api.post(path);
      expect((await api.put(path, key("s", { count: 10 }))).json).toEqual({ count: 11 });
      expectProblem(await api.put(path, key("s", { count: 12 })), 422, "key-reused");
      expect((await api.get(path)).json.count).toBe(11);
    });

    test("what is added meanwhile counts on top or was there before", async () => {
      const path = `${freshSubject().path}/views`;
      const adds = Array.from({ length: 200 }, () => api.post(path));
      const set = await api.put(path, { json: { count: 10_000 } });
      expect(set.json).toEqual({ count: 10_000 });
      await Promise.all(adds);
      const before = (await api.get(path)).json.count;
      expect(before).toBeWithin(10_000, 10_201);
      for (let i = 0; i < 5; i++) await api.post(path);
      expect((await api.get(path)).json.count).toBe(before + 5);
    });
  });
}

function erasures(api: Api): void {
  describe("DELETE /v1/subjects/{type}/{id}", () => {
    test("tells what it was and leaves nothing; a repeat erases zeros; counting begins again", async () => {
      const { subject, path } = freshSubject();
      await api.post(`${path}/views`, { json: { by: 7 } });
      await api.put(`${path}/likes/7`);
      await api.put(`${path}/likes/8`);
      await api.put(`${path}/follows/9`);
      await api.put(`${path}/likes/10`);
      await api.delete(`${path}/likes/10`);
      const gone = await api.delete(path);
      expect([gone.status, gone.json]).toEqual([200, { subject, erased: { ...NONE, views: 7, likes: 2, follows: 1 } }]);
      expect((await api.get(`${path}?actor=7`)).json).toEqual({ subject, counts: NONE, mine: [] });
      expect((await api.get(`${path}/likes?limit=5`)).json).toMatchObject({ count: 0, actors: [], next: null });
      expect((await api.get(`${path}/likes/7`)).json).toEqual({ active: false, count: 0, at: null });
      expect((await api.get("/v1/actors/9/follows?limit=100")).json.subjects).not.toContainEqual(
        expect.objectContaining({ subject }),
      );
      // Not even that it was once taken back is known.
      expect((await api.delete(`${path}/likes/10`)).json).toEqual({
        active: false,
        changed: false,
        count: 0,
        at: null,
      });
      expect((await api.delete(path)).json).toEqual({ subject, erased: NONE });
      expect((await api.post(`${path}/views`)).json).toEqual({ count: 1 });
      expect((await api.put(`${path}/likes/7`)).json).toMatchObject({ active: true, changed: true, count: 1 });
      expect((await api.get(path)).json.counts).toEqual({ ...NONE, views: 1, likes: 1 });
    });

    test("with a key does not erase what came after it", async () => {
      const { subject, path } = freshSubject();
      await api.post(`${path}/views`, { json: { by: 7 } });
      expect((await api.delete(path, key("d"))).json.erased.views).toBe(7);
      await api.post(`${path}/views`);
      expect((await api.delete(path, key("d"))).json).toEqual({ subject, erased: NONE });
      expect((await api.get(path)).json.counts.views).toBe(1);
    });

    test("takes no other subject along, however alike", async () => {
      const subjects = ODD.flatMap((id) => [`article/${id}`, `user/${id}`]);
      for (const subject of subjects) {
        await api.delete(pathOf(subject));
        await api.put(`${pathOf(subject)}/likes/${encodeURIComponent("ß😀")}`);
        await api.post(`${pathOf(subject)}/views`);
      }
      // Every other one of them at once, as each may wait for the ledger; its neighbours are those most like it.
      for (const part of [0, 1]) {
        const rest = subjects.filter((_, i) => i % 2 === 1 - part && part === 0);
        const gone = subjects.filter((_, i) => i % 2 === part);
        const answers = await Promise.all(gone.map((subject) => api.delete(pathOf(subject))));
        expect(answers.map(({ json }) => json)).toEqual(
          gone.map((subject) => ({ subject, erased: { ...NONE, views: 1, likes: 1 } })),
        );
        for (const subject of rest)
          expect((await api.get(pathOf(subject))).json.counts).toEqual({ ...NONE, views: 1, likes: 1 });
      }
      expect((await api.get(`/v1/actors/${encodeURIComponent("ß😀")}`)).json.counts.likes).toBe(0);
    });

    test("whatever is added meanwhile is erased or stays, and nothing else", async () => {
      const { path } = freshSubject();
      const adds = Array.from({ length: 300 }, () => api.post(`${path}/views`));
      const erased: number[] = [];
      for (let i = 0; i < 5; i++) erased.push((await api.delete(path)).json.erased.views);
      await Promise.all(adds);
      const left = (await api.delete(path)).json.erased.views;
      expect(erased.reduce((sum, count) => sum + count, left)).toBe(300);
      expect((await api.get(path)).json.counts.views).toBe(0);
    });

    test("acts meanwhile are erased or stay: the count is the number of the actors listed", async () => {
      const { path } = freshSubject();
      const acts = Array.from({ length: 200 }, (_, i) => api.put(`${path}/likes/during-${i}`));
      for (let i = 0; i < 4; i++) await api.delete(path);
      const replies = await Promise.all(acts);
      expect(replies.map(({ status }) => status).filter((status) => status !== 200)).toEqual([]);
      const listed = await everyone(api, `${path}/likes`);
      const single = await Promise.all(replies.map((_, i) => api.get(`${path}/likes/during-${i}`)));
      const active = single.flatMap(({ json }, i) => (json.active ? [`during-${i}`] : []));
      expect(listed.sort()).toEqual(active.sort());
      expect((await api.get(path)).json.counts.likes).toBe(listed.length);
      expect((await api.delete(path)).json.erased.likes).toBe(listed.length);
    });

    test("refuses a body that says more", async () => {
      expectBadInput(await api.delete(freshSubject().path, { json: { views: true } }), "/views");
    });
  });
}

function actors(api: Api): void {
  describe("DELETE /v1/actors/{actor}", () => {
    test("tells what it was, on whatever subjects, and the counts are right; tallies keep their numbers", async () => {
      const subjects = Array.from({ length: 30 }, () => freshSubject());
      const [first] = subjects as [{ subject: string; path: string }];
      for (const { path } of subjects) {
        await api.put(`${path}/likes/erased`);
        await api.put(`${path}/likes/stays`);
      }
      await api.put(`${first.path}/follows/erased`);
      await api.delete(`${first.path}/likes/erased`);
      await api.post(`${first.path}/views`, { json: { by: 3, actor: "erased" } });
      const gone = await api.delete("/v1/actors/erased");
      expect([gone.status, gone.json]).toEqual([
        200,
        { actor: "erased", erased: { likes: 29, favorites: 0, follows: 1 } },
      ]);
      for (const { path } of subjects) {
        expect((await api.get(`${path}/likes?limit=5`)).json).toMatchObject({ count: 1, actors: [{ actor: "stays" }] });
        expect((await api.get(`${path}/likes/erased`)).json).toEqual({ active: false, count: 1, at: null });
      }
      expect((await api.get(first.path)).json.counts).toEqual({ ...NONE, views: 3, likes: 1 });
      expect((await api.get("/v1/actors/erased")).json.counts).toEqual({ likes: 0, favorites: 0, follows: 0 });
      expect((await api.get("/v1/actors/erased/likes?limit=9")).json).toEqual({ count: 0, subjects: [], next: null });
      expect((await api.get("/v1/actors/stays")).json.counts.likes).toBe(30);
      expect((await api.delete(`${first.path}/likes/erased`)).json.at).toBeNull();
      expect((await api.delete("/v1/actors/erased")).json.erased).toEqual({ likes: 0, favorites: 0, follows: 0 });
      const again = await api.put(`${first.path}/likes/erased`);
      expect(again.json).toMatchObject({ active: true, changed: true, count: 2 });
      expect((await api.get("/v1/actors/erased")).json.counts.likes).toBe(1);
    });

    test("with a key does not erase what came after it", async () => {
      const { path } = freshSubject();
      await api.put(`${path}/likes/key-erased`);
      expect((await api.delete("/v1/actors/key-erased", key("a"))).json.erased.likes).toBe(1);
      await api.put(`${path}/likes/key-erased`);
      expect((await api.delete("/v1/actors/key-erased", key("a"))).json.erased.likes).toBe(0);
      expect((await api.get(`${path}/likes`)).json.count).toBe(1);
    });

    test("takes no other actor along, however alike", async () => {
      const { path } = freshSubject();
      for (const actor of ODD) await api.put(`${path}/likes/${encodeURIComponent(actor)}`);
      for (const part of [0, 1]) {
        const actors = ODD.filter((_, i) => i % 2 === part);
        const answers = await Promise.all(actors.map((actor) => api.delete(`/v1/actors/${encodeURIComponent(actor)}`)));
        expect(answers.map(({ json }) => json.actor)).toEqual(actors);
        for (const { json } of answers) expect(json.erased.likes).toBeGreaterThan(0);
        const left = part === 0 ? ODD.filter((_, i) => i % 2 === 1) : [];
        expect((await everyone(api, `${path}/likes`)).sort()).toEqual(left.sort());
        expect((await api.get(`${path}/likes`)).json.count).toBe(left.length);
      }
    });

    test("while the actor and others act: each act is gone or stays, and the counts are right", async () => {
      const subjects = Array.from({ length: 20 }, () => freshSubject().path);
      const acts = subjects.flatMap((path) => ["busy", "other"].map((actor) => api.put(`${path}/likes/${actor}`)));
      for (let i = 0; i < 4; i++) await api.delete("/v1/actors/busy");
      await Promise.all(acts);
      const listed = await everyone(api, "/v1/actors/busy/likes");
      expect((await api.get("/v1/actors/busy")).json.counts.likes).toBe(listed.length);
      for (const path of subjects) {
        const names = (await everyone(api, `${path}/likes`)).sort();
        const { active, count } = (await api.get(`${path}/likes/busy`)).json;
        expect([names, count]).toEqual(active ? [["busy", "other"], 2] : [["other"], 1]);
      }
    });

    test("a late event of before changes nothing, one of after counts", async () => {
      const { path } = freshSubject();
      await api.put(`${path}/likes/late`);
      const before = new Date().toISOString();
      await Bun.sleep(2);
      await api.delete("/v1/actors/late");
      const refused = await api.put(`${path}/likes/late`, { json: { at: before } });
      expect(refused.json).toMatchObject({ active: false, changed: false, count: 0, at: null });
      expect((await api.put(`${path}/likes/late`, { json: { at: "2001-01-01T00:00:00Z" } })).json.changed).toBe(false);
      expect((await api.get("/v1/actors/late/likes?limit=5")).json).toMatchObject({ count: 0, subjects: [] });
      await Bun.sleep(2);
      const at = new Date().toISOString();
      expect((await api.put(`${path}/likes/late`, { json: { at } })).json).toEqual({
        active: true,
        changed: true,
        count: 1,
        at,
      });
    });

    test("me is refused to a caller without an actor, and dots are no actor", async () => {
      expectBadInput(await api.delete("/v1/actors/me"), "actor");
    });
  });
}

function merges(api: Api): void {
  describe("POST /v1/merge", () => {
    const merge = (from: string, to: string, more = {}) => api.post("/v1/merge", { json: { from, to }, ...more });

    test("tallies add, an actor on both counts once since the later time; a repeat changes nothing", async () => {
      const [from, to] = [freshSubject(), freshSubject()];
      await api.post(`${from.path}/views`, { json: { by: 5 } });
      await api.post(`${to.path}/views`, { json: { by: 7 } });
      await api.post(`${from.path}/shares`);
      for (const actor of ["one", "both"]) await api.put(`${from.path}/likes/${actor}`);
      for (const actor of ["both", "two"]) await api.put(`${to.path}/likes/${actor}`);
      const { at } = (await api.get(`${to.path}/likes/both`)).json;
      const merged = { to: to.subject, counts: { ...NONE, views: 12, shares: 1, likes: 3 } };
      const reply = await merge(from.subject, to.subject);
      expect([reply.status, reply.json]).toEqual([200, merged]);
      expect((await api.get(from.path)).json.counts).toEqual(NONE);
      expect((await api.get(`${from.path}/likes?limit=5`)).json.actors).toEqual([]);
      const list = (await api.get(`${to.path}/likes?limit=5`)).json.actors;
      expect(list.map((each: { actor: string }) => each.actor)).toEqual(["two", "both", "one"]);
      expect((await api.get(`${to.path}/likes/both`)).json).toEqual({ active: true, count: 3, at });
      expect((await api.get("/v1/actors/both")).json.counts.likes).toBe(1);
      expect((await merge(from.subject, to.subject)).json).toEqual(merged);
      expect((await api.post(`${from.path}/views`)).json).toEqual({ count: 1 });
      expect((await api.delete(`${to.path}/likes/one`)).json).toMatchObject({ changed: true, count: 2 });
    });

    test("who likes one of the two likes the merged one, also where the other was taken back later", async () => {
      const [from, to] = [freshSubject(), freshSubject()];
      await api.put(`${from.path}/likes/a`);
      const { at } = (await api.get(`${from.path}/likes/a`)).json;
      await api.put(`${to.path}/likes/a`);
      await api.delete(`${to.path}/likes/a`);
      await api.put(`${to.path}/likes/b`);
      await api.put(`${from.path}/likes/b`);
      await api.delete(`${from.path}/likes/b`);
      expect((await merge(from.subject, to.subject)).json.counts.likes).toBe(2);
      expect((await api.get(`${to.path}/likes/a`)).json).toEqual({ active: true, count: 2, at });
    });

    test("refuses one subject twice, and what is none", async () => {
      expectBadInput(await merge("article/x", "article/x"), "/to");
      expectBadInput(await merge("article", "article/x"), "/from");
      expectBadInput(await merge("article/x", "article/"), "/to");
      expectBadInput(await api.post("/v1/merge", { json: { from: "article/x" } }), "/to");
      expectBadInput(await api.post("/v1/merge"), "/from", "/to");
    });

    test("refuses a sum that no count can be, and changes nothing", async () => {
      const [from, to] = [freshSubject(), freshSubject()];
      await api.put(`${from.path}/views`, { json: { count: 2 ** 53 - 1 } });
      await api.post(`${to.path}/views`);
      expectProblem(await merge(from.subject, to.subject), 400, "bad-input");
      expect((await api.get(`${from.path}/views`)).json.count).toBe(2 ** 53 - 1);
      expect((await api.get(`${to.path}/views`)).json.count).toBe(1);
    });

    test("of two merges at once that are too much together one is done, and the other is told so", async () => {
      const [one, other, to] = [freshSubject(), freshSubject(), freshSubject()];
      const half = 2 ** 52;
      const once = { "idempotency-key": `too much ${to.subject}` };
      for (const { path } of [one, other]) await api.put(`${path}/views`, { json: { count: half } });
      const merge = (from: string) => api.post("/v1/merge", { headers: once, json: { from, to: to.subject } });
      const asked = [one, other].map(({ subject }) => ({ from: subject, to: to.subject }));
      const replies = await Promise.all(asked.map((json) => api.post("/v1/merge", { json })));
      expect(replies.map(({ status }) => status).sort()).toEqual([200, 400]);
      const refused = replies[0]?.status === 400 ? one : other;
      for (const reply of replies) if (reply.status === 400) expectBadInput(reply, "/from");
      await eventually(async () => {
        for (const _ of api.urls) {
          expect((await api.get(`${to.path}/views`)).json.count).toBe(half);
          expect((await api.get(`${refused.path}/views`)).json.count).toBe(half);
        }
      });
      // What was not done has not used its key.
      for (let i = 0; i < 2; i++) expectBadInput(await merge(refused.subject), "/from");
      await api.put(`${to.path}/views`, { json: { count: 1 } });
      await eventually(async () => {
        for (const _ of api.urls) expect((await api.get(`${to.path}/views`)).json.count).toBe(1);
      });
      expect((await merge(refused.subject)).json.counts.views).toBe(half + 1);
    });

    test("with a key happens once", async () => {
      const [from, to] = [freshSubject(), freshSubject()];
      await api.post(`${from.path}/views`);
      const named = { headers: { "idempotency-key": from.subject } };
      expect((await merge(from.subject, to.subject, named)).json.counts.views).toBe(1);
      await api.post(`${from.path}/views`);
      expect((await merge(from.subject, to.subject, named)).json.counts.views).toBe(1);
      expect((await api.get(`${from.path}/views`)).json.count).toBe(1);
    });

    test("nothing that is added meanwhile is lost or counted twice", async () => {
      const [a, b] = [freshSubject(), freshSubject()];
      const adds = Array.from({ length: 300 }, (_, i) => api.post(`${(i % 2 ? a : b).path}/views`));
      const likes = Array.from({ length: 60 }, (_, i) => api.put(`${(i % 2 ? a : b).path}/likes/m${i % 20}`));
      for (let i = 0; i < 6; i++) await (i % 2 ? merge(a.subject, b.subject) : merge(b.subject, a.subject));
      expect((await Promise.all([...adds, ...likes])).every(({ status }) => status === 200)).toBe(true);
      const { counts } = (await merge(a.subject, b.subject)).json;
      expect(counts).toMatchObject({ views: 300, likes: 20 });
      expect(await everyone(api, `${b.path}/likes`)).toHaveLength(20);
    });
  });
}
