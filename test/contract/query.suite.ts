import { describe, expect, test } from "bun:test";
import { type Api, expectBadInput, expectProblem, freshSubject, type Reply } from "../support/contract.ts";
import { eventually } from "../support/eventually.ts";
import { ODD } from "../support/odd-ids.ts";
import { PageModel } from "../support/page-model.ts";
import { random } from "../support/random.ts";

const TALLIES = ["views", "shares"];
const RELATIONS = ["likes", "favorites", "follows"];

function asked(api: Api, json: unknown): Promise<Reply> {
  return api.post("/v1/query", { json });
}

async function items(api: Api, json: unknown) {
  const reply = await asked(api, json);
  expect(reply.status, reply.text).toBe(200);
  expect(reply.headers.get("cache-control")).toBe("no-store");
  expect(Object.keys(reply.json)).toEqual(["items"]);
  return reply.json.items;
}

function pathOf(subject: string): string {
  const slash = subject.indexOf("/");
  return `/v1/subjects/${subject.slice(0, slash)}/${encodeURIComponent(subject.slice(slash + 1))}`;
}

/** Many subjects in one request. */
export function query(api: Api): void {
  describe("POST /v1/query", () => {
    test("has all counts of each subject, in the order of the settings; mine only with an actor", async () => {
      const [a, b] = [freshSubject(), freshSubject()];
      await api.put(`${a.path}/likes/q1`);
      await api.put(`${a.path}/follows/q1`);
      await api.put(`${b.path}/likes/q2`);
      const subjects = [a.subject, b.subject];
      const first = '{"views":0,"shares":0,"likes":1,"favorites":0,"follows":1}';
      const second = '{"views":0,"shares":0,"likes":1,"favorites":0,"follows":0}';
      expect((await asked(api, { subjects })).text).toBe(
        `{"items":[{"subject":"${a.subject}","counts":${first}},{"subject":"${b.subject}","counts":${second}}]}`,
      );
      expect((await asked(api, { subjects, actor: "q1" })).text).toBe(
        `{"items":[{"subject":"${a.subject}","counts":${first},"mine":["likes","follows"]},` +
          `{"subject":"${b.subject}","counts":${second},"mine":[]}]}`,
      );
    });

    test("says the same as each subject alone, tallies included", async () => {
      const made = Array.from({ length: 8 }, () => freshSubject());
      for (const [i, { path }] of made.entries()) {
        for (let n = 0; n < i; n++) await api.post(`${path}/views`, { json: { by: 10 + n } });
        if (i % 2) await api.put(`${path}/favorites/q3`);
      }
      await eventually(async () => {
        const page = await items(api, { subjects: made.map(({ subject }) => subject), actor: "q3" });
        const alone = await Promise.all(made.map(async ({ path }) => (await api.get(`${path}?actor=q3`)).json));
        expect(page).toEqual(alone);
        expect(page.map((item: { counts: { views: number } }) => item.counts.views)).toEqual(
          made.map((_, i) => i * 10 + (i * (i - 1)) / 2),
        );
      });
    });

    test("keeps the order asked, and what is asked twice comes twice", async () => {
      const [a, b] = [freshSubject(), freshSubject()];
      await api.put(`${b.path}/likes/q4`);
      const subjects = [b.subject, a.subject, b.subject, "article/nobody counted", b.subject];
      const page = await items(api, { subjects, metrics: ["likes"], actor: "q4" });
      expect(page.map((item: { subject: string }) => item.subject)).toEqual(subjects);
      expect(page.map((item: { counts: object }) => item.counts)).toEqual([1, 0, 1, 0, 1].map((likes) => ({ likes })));
      expect(page.map((item: { mine: string[] }) => item.mine.length)).toEqual([1, 0, 1, 0, 1]);
    });

    test("metrics narrow counts, mine and known, and give their order", async () => {
      const { subject, path } = freshSubject();
      await api.put("/v1/subjects/user/q6/follows/q5");
      for (const relation of ["likes", "favorites"])
        for (const actor of ["q5", "q6"]) await api.put(`${path}/${relation}/${actor}`);
      const ask = { subjects: [subject], metrics: ["favorites", "views", "favorites"], actor: "q5", known: true };
      expect((await asked(api, ask)).text).toBe(
        `{"items":[{"subject":"${subject}","counts":{"favorites":2,"views":0},"mine":["favorites"],` +
          `"known":{"favorites":{"count":1,"actors":["q6"]}}}]}`,
      );
      expect(await items(api, { ...ask, metrics: ["shares"] })).toEqual([
        { subject, counts: { shares: 0 }, mine: [], known: {} },
      ]);
      expect(await items(api, { ...ask, known: false })).toEqual([
        { subject, counts: { favorites: 2, views: 0 }, mine: ["favorites"] },
      ]);
    });

    test("a thousand subjects, and 1,001 are refused at /subjects", async () => {
      const { subject, path } = freshSubject();
      await api.put(`${path}/likes/q7`);
      const others = Array.from({ length: 999 }, (_, i) => `article/of a thousand ${i}`);
      const page = await items(api, { subjects: [...others, subject], actor: "q7", known: true });
      expect(page).toHaveLength(1000);
      expect(page.at(-1)).toMatchObject({ subject, counts: { likes: 1 }, mine: ["likes"] });
      expect(page.at(0)).toMatchObject({ subject: others[0], counts: { likes: 0 }, mine: [] });
      expectBadInput(await asked(api, { subjects: [...others, "a/1", "a/2"] }), "/subjects");
    });

    test("the longest subjects, every letter of them escaped, fit the body", async () => {
      const long = Array.from({ length: 1000 }, (_, i) => `${"t".repeat(32)}/${String(i).padStart(128, "x")}`);
      const escaped = (text: string) =>
        text.replaceAll(/./g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
      const body = `{"subjects":[${long.map((subject) => `"${escaped(subject)}"`).join(",")}]}`;
      const reply = await api.post("/v1/query", { body, headers: { "content-type": "application/json" } });
      expect(reply.status).toBe(200);
      expect(reply.json.items.map((item: { subject: string }) => item.subject)).toEqual(long);
      const more = `${body.slice(0, -1)}${" ".repeat(100_000)}}`;
      expectProblem(
        await api.post("/v1/query", { body: more, headers: { "content-type": "application/json" } }),
        413,
        "too-large",
      );
    });

    test("odd ids are themselves, as subjects, as the actor and as those who are known", async () => {
      const subjects = ODD.map((id) => `queried/${id}`);
      for (const [i, subject] of subjects.entries()) {
        if (i % 2) await api.put(`${pathOf(subject)}/likes/${encodeURIComponent(ODD[i] as string)}`);
      }
      for (const [i, actor] of ODD.entries()) {
        const page = await items(api, { subjects, metrics: ["likes"], actor });
        expect(page).toEqual(
          subjects.map((subject, j) => ({
            subject,
            counts: { likes: j % 2 },
            mine: i === j && j % 2 ? ["likes"] : [],
          })),
        );
      }
      const friends = ODD.filter((_, i) => i % 3 === 0);
      for (const id of friends) await api.put(`/v1/subjects/user/${encodeURIComponent(id)}/follows/q8`);
      const page = await items(api, { subjects, metrics: ["likes"], actor: "q8", known: true });
      expect(page.map((item: { known: { likes: unknown } }) => item.known.likes)).toEqual(
        ODD.map((id, i) => {
          const isKnown = i % 2 === 1 && friends.includes(id);
          return { count: isKnown ? 1 : 0, actors: isKnown ? [id] : [] };
        }),
      );
    });

    test("known: all of those whom the actor follows are counted, the newest three are named", async () => {
      const { subject, path } = freshSubject();
      const ask = { subjects: [subject], metrics: ["likes"], actor: "q9", known: true };
      const known = async () => (await items(api, ask))[0].known.likes;
      const follow = (id: string) => api.put(`/v1/subjects/user/${id}/follows/q9`);
      expect(await known()).toEqual({ count: 0, actors: [] });
      for (const id of ["f1", "f2", "f3", "f4"]) await follow(id);
      for (const id of ["f3", "stranger", "f1", "f4", "f2", "f5"]) await api.put(`${path}/likes/${id}`);
      expect(await known()).toEqual({ count: 4, actors: ["f2", "f4", "f1"] });
      await follow("f5");
      expect(await known()).toEqual({ count: 5, actors: ["f5", "f2", "f4"] });
      await api.delete("/v1/subjects/user/f2/follows/q9");
      expect(await known()).toEqual({ count: 4, actors: ["f5", "f4", "f1"] });
      await api.delete(`${path}/likes/f5`);
      expect(await known()).toEqual({ count: 3, actors: ["f4", "f1", "f3"] });
      await api.put(`${path}/likes/f5`);
      expect(await known()).toEqual({ count: 4, actors: ["f5", "f4", "f1"] });
      // Neither another type nor another relation nor the other direction makes anybody known.
      await api.put("/v1/subjects/article/stranger/follows/q9");
      await api.put("/v1/subjects/user/stranger/likes/q9");
      await api.put("/v1/subjects/user/q9/follows/stranger");
      expect(await known()).toEqual({ count: 4, actors: ["f5", "f4", "f1"] });
      await follow("q9");
      await api.put(`${path}/likes/q9`);
      expect(await known()).toEqual({ count: 5, actors: ["q9", "f5", "f4"] });
    });

    test("shows every act at once, whatever came before it", async () => {
      const chance = random(20_251);
      const model = new PageModel();
      const subjects = Array.from({ length: 12 }, () => freshSubject().subject);
      const people = Array.from({ length: 10 }, (_, i) => `person ${i}`);
      const users = people.map((id) => `user/${id}`);
      for (let step = 0; step < 150; step++) {
        const subject = chance.pick(chance.chance(0.4) ? users : subjects);
        const metric = subject.startsWith("user/") ? "follows" : chance.pick(RELATIONS);
        const [actor, active] = [chance.pick(people), chance.chance(0.7)];
        const path = `${pathOf(subject)}/${metric}/${encodeURIComponent(actor)}`;
        expect((await (active ? api.put(path) : api.delete(path))).status).toBe(200);
        model.relate(metric, subject, actor, active);
        if (step % 5 > 0) continue;
        const relations = RELATIONS.filter(() => chance.chance(0.7));
        const metrics = relations.length > 0 ? relations : ["likes"];
        const of = Array.from({ length: 1 + chance.below(20) }, () => chance.pick([...subjects, ...users]));
        const who = chance.pick(people);
        const ask = { subjects: of, metrics, actor: who, known: true };
        expect(await items(api, ask)).toEqual(
          of.map((one) => model.item(one, { tallies: [], relations: metrics, actor: who, known: true })),
        );
      }
    }, 60_000);

    test("tallies of one node's counting show on every node after a flush", async () => {
      const model = new PageModel();
      const subjects = Array.from({ length: 5 }, () => freshSubject().subject);
      for (const [i, subject] of subjects.entries()) {
        for (const metric of TALLIES) {
          await api.post(`${pathOf(subject)}/${metric}`, { json: { by: i + 1 } });
          model.count(metric, subject, i + 1);
        }
      }
      await eventually(async () => {
        for (let node = 0; node < api.urls.length; node++) {
          expect(await items(api.node(node), { subjects })).toEqual(
            subjects.map((subject) => model.item(subject, { tallies: TALLIES, relations: RELATIONS })),
          );
        }
      });
    });

    test("refuses what is not right, naming every place", async () => {
      const subjects = ["article/1"];
      for (const body of [{}, { subjects: [] }, { subjects: "article/1" }, { subjects: null }, { subjects: {} }])
        expectBadInput(await asked(api, body), "/subjects");
      expectBadInput(
        await asked(api, { subjects: ["a/1", 7, "nothing", "A/1", "a/", "a/.", "a/..", "a/\u0000", null, "a/\ud800"] }),
        ...[1, 2, 3, 4, 5, 6, 7, 8, 9].map((i) => `/subjects/${i}`),
      );
      expectBadInput(await asked(api, { subjects: ["a/x".padEnd(131, "x")] }), "/subjects/0");
      expectBadInput(await asked(api, { subjects, metrics: [] }), "/metrics");
      expectBadInput(await asked(api, { subjects, metrics: "likes" }), "/metrics");
      expectBadInput(await asked(api, { subjects, metrics: ["likes", 7] }), "/metrics/1");
      expectBadInput(await asked(api, { subjects, actor: 7 }), "/actor");
      expectBadInput(await asked(api, { subjects, actor: "" }), "/actor");
      expectBadInput(await asked(api, { subjects, actor: "me" }), "/actor");
      expectBadInput(await asked(api, { subjects, actor: "7", known: "yes" }), "/known");
      expectBadInput(await asked(api, { subjects, known: true }), "/known");
      expectBadInput(await asked(api, { subjects, subject: "a/1" }), "/subject");
      expectBadInput(await asked(api, { subjects: 7, actor: 7, x: 1 }), "/subjects", "/actor", "/x");
      expectBadInput(await asked(api, []), "");
      expectBadInput(await api.post("/v1/query"), "/subjects");
      expectProblem(await asked(api, { subjects, metrics: ["likes", "claps"] }), 404, "unknown-metric");
      expectProblem(await api.post("/v1/query", { body: "{}" }), 415, "wrong-content-type");
      const json = { "content-type": "application/json" };
      expectBadInput(await api.post("/v1/query", { body: "{", headers: json }), "");
      expectBadInput(await api.post("/v1/query", { body: Uint8Array.of(0x22, 0xff, 0x22), headers: json }), "");
      expectProblem(await api.get("/v1/query"), 405, "method-not-allowed");
    });
  });
}
