import { beforeAll, describe, expect, test } from "bun:test";
import { type Api, type Deployment, expectProblem, freshSubject, useServer } from "../support/contract.ts";
import { eventually } from "../support/eventually.ts";
import { clearOfMidnight } from "../support/midnight.ts";
import { actorsNamed, distinctConfig, view } from "../support/visitors.ts";

/** How far a number of many visitors may be off: five standard errors of 0.81 %. */
const OFF_MAX = 0.04;

/** How many different actors a tally had. */
export function distinct(deployment: Deployment): void {
  const isEmbedded = deployment.name === "embedded";
  const many = isEmbedded ? 100_000 : 8_000;
  describe("a distinct tally", () => {
    const api = useServer(deployment, { args: ["--config", distinctConfig()] });
    // All of these tests together take less.
    beforeAll(() => clearOfMidnight(60_000), 90_000);

    test("tells on reading how many different actors there were, today and ever", async () => {
      const { subject, path } = freshSubject();
      expect((await api.get(`${path}/views`)).text).toBe(
        `{"subject":"${subject}","metric":"views","count":0,"distinct":{"today":0,"all":0}}`,
      );
      for (const actor of ["7", "9", "7", "7", "9"]) await visit(api, path, { actor });
      await expectDistinct(api, path, 2);
      await visit(api, path, { actor: "11", by: 1_000 });
      await expectDistinct(api, path, 3);
      expect((await api.get(`${path}/views`)).json.count).toBe(1_005);
    });

    test("shows a visitor at once to whoever asks the node that was told", async () => {
      const { path } = freshSubject();
      const one = api.node(0);
      for (let i = 1; i <= 20; i++) {
        await visit(one, path, { actor: `u${i}` });
        expect((await one.get(`${path}/views`)).json.distinct).toEqual({ today: i, all: i });
      }
    });

    test("tells it nowhere else, and no other metric does", async () => {
      const { path } = freshSubject();
      expect((await api.post(`${path}/views`, { json: { actor: "7" } })).json).toEqual({ count: 1 });
      expect((await api.get(path)).json).not.toHaveProperty("distinct");
      for (const metric of ["shares", "likes"])
        expect((await api.get(`${path}/${metric}`)).json).not.toHaveProperty("distinct");
    });

    test("keeps metrics and subjects apart, and takes ids as they are", async () => {
      const [a, b] = [freshSubject(), freshSubject()];
      const actors = [
        "Bob",
        "bob",
        "bob ",
        "é",
        "e\u0301",
        "🎉",
        "a/b",
        "%2F",
        "__proto__",
        "x".repeat(128),
        "0",
        "00",
      ];
      for (const actor of actors) {
        await visit(api, a.path, { actor });
        await visit(api, a.path, { actor });
      }
      await api.post(`${b.path}/plays`, { json: { actor: "Bob" } });
      await expectDistinct(api, a.path, actors.length);
      await expectDistinct(api, b.path, 0);
      expect((await api.get(`${a.path}/plays`)).json.distinct).toEqual({ today: 0, all: 0 });
      await eventually(async () =>
        expect((await api.get(`${b.path}/plays`)).json.distinct).toEqual({ today: 1, all: 1 }),
      );
      const odd = `/v1/subjects/article/${encodeURIComponent("é 🎉/__proto__ %2F")}`;
      await visit(api, odd, { actor: "7" });
      await expectDistinct(api, odd, 1);
    });

    test("takes an act with an Idempotency-Key once, with its actor", async () => {
      const { path } = freshSubject();
      const send = (key: string, actor: string) =>
        api.post(`${path}/views`, { headers: { "idempotency-key": key }, json: { actor } });
      for (let i = 0; i < 3; i++) expect((await send("k1", "7")).json).toEqual({ count: 1 });
      expectProblem(await send("k1", "8"), 422, "key-reused");
      expect((await send("k2", "9")).json).toEqual({ count: 2 });
      await expectDistinct(api, path, 2);
    });

    test("counts of an act's own time for all time, and today only if it was today", async () => {
      const { path } = freshSubject();
      const at = new Date(Date.now() - 3 * 86_400_000).toISOString();
      expect((await api.post(`${path}/views`, { json: { actor: "7", at } })).status).toBe(200);
      await eventually(async () =>
        expect((await api.get(`${path}/views`)).json.distinct).toEqual({ today: 0, all: 1 }),
      );
      await visit(api, path, { actor: "7" });
      await visit(api, path, { actor: "8" });
      await eventually(async () =>
        expect((await api.get(`${path}/views`)).json.distinct).toEqual({ today: 2, all: 2 }),
      );
    });

    test("takes callers without an actor for as many as they have browsers, today", async () => {
      const { path } = freshSubject();
      const one = api.node(0);
      const send = async (agent: string, json?: object) =>
        expect(
          (await one.post(`${path}/views`, { headers: { "user-agent": agent }, ...(json && { json }) })).status,
        ).toBe(200);
      for (const agent of ["Firefox", "Safari", "Firefox", "", "Safari"]) await send(agent);
      await expectDistinct(one, path, 3);
      for (const actor of ["Firefox", "Safari"]) await send("Firefox", { actor });
      await expectDistinct(one, path, 5);
      // What somebody tells of another time is not his own visit.
      await send("Opera", { at: "2020-01-01T00:00:00Z" });
      await expectDistinct(one, path, 5);
    });

    test("knows the actors of lines that come many at once", async () => {
      const { subject, path } = freshSubject();
      const line = (actor: string, at?: string) => JSON.stringify({ metric: "views", subject, actor, at });
      const lines = ["7", "8", "7", "9", "9"].map((actor) => line(actor));
      const headers = { "content-type": "application/x-ndjson" };
      const sent = await api.post("/v1/events", { headers, body: lines.join("\n") });
      expect(sent.json).toEqual({ accepted: 5, rejected: 0, errors: [] });
      await expectDistinct(api, path, 3);
      await api.post("/v1/events", { headers, body: line("10", "2020-01-01T00:00:00Z") });
      await eventually(async () =>
        expect((await api.get(`${path}/views`)).json).toMatchObject({ count: 6, distinct: { today: 3, all: 4 } }),
      );
      // The lines of a page's beacon are all its visitor's.
      const beacon = {
        headers: { "content-type": "text/plain", "user-agent": "Opera" },
        body: `views ${subject} 2\n`.repeat(3),
      };
      for (let i = 0; i < 2; i++) expect((await api.node(0).post("/v1/events", beacon)).json.accepted).toBe(3);
      await eventually(async () =>
        expect((await api.get(`${path}/views`)).json).toMatchObject({ count: 18, distinct: { today: 4, all: 5 } }),
      );
    });

    test("of an erased subject begins anew, for those too whom the server knew", async () => {
      const { path } = freshSubject();
      for (const actor of ["7", "8", "9"]) await visit(api, path, { actor });
      await expectDistinct(api, path, 3);
      expect((await api.delete(path)).status).toBe(200);
      await expectDistinct(api, path, 0);
      for (let round = 0; round < 2; round++) for (const actor of ["7", "new"]) await visit(api, path, { actor });
      await expectDistinct(api, path, 2);
    });

    test("of a merged subject has the visitors of both, each once", async () => {
      const [from, to] = [freshSubject(), freshSubject()];
      for (const actor of ["7", "8", "9"]) await visit(api, from.path, { actor });
      for (const actor of ["9", "10"]) await visit(api, to.path, { actor });
      for (let round = 0; round < 2; round++) {
        const json = { from: from.subject, to: to.subject };
        expect((await api.post("/v1/merge", { json })).status).toBe(200);
        await expectDistinct(api, to.path, 4);
        await expectDistinct(api, from.path, 0);
      }
      await visit(api, to.path, { actor: "7" });
      await visit(api, to.path, { actor: "11" });
      await expectDistinct(api, to.path, 5);
      await visit(api, from.path, { actor: "7" });
      await expectDistinct(api, from.path, 1);
    });

    test("stays as it is when its count is set or an actor is erased", async () => {
      const { path } = freshSubject();
      for (const actor of ["stays-1", "stays-2"]) await visit(api, path, { actor });
      expect((await api.put(`${path}/views`, { json: { count: 1_000 } })).json).toEqual({ count: 1_000 });
      expect((await api.delete("/v1/actors/stays-1")).status).toBe(200);
      await expectDistinct(api, path, 2);
    });

    test("is right for a thousand, whichever node each comes to", async () => {
      const { path } = freshSubject();
      const actors = actorsNamed("thousand", 1_000);
      expect(await view(api.urls, path, [...actors, ...actors])).toHaveLength(2_000);
      await eventually(async () => {
        const { distinct } = (await api.get(`${path}/views`)).json;
        expect(Math.abs(distinct.all - 1_000)).toBeLessThanOrEqual(2);
        expect(distinct.today).toBe(distinct.all);
      });
    });

    test(`is off by a few hundredths at most for ${many}, and every node says the same`, async () => {
      const { path } = freshSubject();
      const actors = actorsNamed("many", many);
      expect(await view(api.urls, path, [...actors, ...actors.slice(0, 1_000)])).toHaveLength(many + 1_000);
      await eventually(async () => {
        const told = await Promise.all(api.urls.map((_, i) => api.node(i).get(`${path}/views`)));
        const [first, ...others] = told.map(({ json }) => json.distinct);
        for (const other of others) expect(other).toEqual(first);
        expect(Math.abs(first.all / many - 1)).toBeLessThan(OFF_MAX);
        expect(first.today).toBe(first.all);
        const before = first;
        // It settles: what is on its way is in it by now.
        expect((await api.get(`${path}/views`)).json).toMatchObject({ count: many + 1_000, distinct: before });
      });
    }, 180_000);
  });
}

async function visit(api: Api, path: string, json: { actor: string; by?: number }): Promise<void> {
  expect((await api.post(`${path}/views`, { json })).status).toBe(200);
}

/** Of today and of all time, on whichever node is asked, once what was told to another is there. */
async function expectDistinct(api: Api, path: string, expected: number): Promise<void> {
  await eventually(async () => {
    for (const _ of api.urls) {
      expect((await api.get(`${path}/views`)).json.distinct).toEqual({ today: expected, all: expected });
    }
  });
}
