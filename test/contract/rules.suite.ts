import { describe, expect, test } from "bun:test";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Api, type Deployment, expectProblem, freshSubject, useServer } from "../support/contract.ts";
import { eventually } from "../support/eventually.ts";

const BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0";
const GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
const MONITOR = "Mozilla/5.0 (compatible; MyMonitorBot/1.0; +https://example.org/bot)";

const METRICS = `
metrics:
  views: {kind: tally, unique: 30m, bots: drop, allow: [mymonitor], ignore: [10.0.0.0/8, "fd00::/8", 203.0.113.9]}
  visits: {kind: tally, unique: 30m}
  blinks: {kind: tally, unique: 1s}
  pauses: {kind: tally, unique: 4s}
  reads: {kind: tally, bots: drop}
  outside: {kind: tally, ignore: [10.0.0.0/8]}
  shares: {kind: tally}
  likes: {kind: relation}
trustedProxies: [127.0.0.0/8, "::1"]
`;

export function configFile(content = METRICS): string {
  const file = join(mkdtempSync(join(tmpdir(), "tally-rules-")), "tally.yaml");
  writeFileSync(file, content);
  return file;
}

interface By {
  agent?: string;
  /** As the trusted proxy tells it. */
  from?: string;
  key?: string;
  once?: string;
  json?: unknown;
  headers?: Record<string, string>;
}

function sending({ agent = BROWSER, from = "198.51.100.7", key, once, json, headers = {} }: By) {
  return {
    headers: {
      "user-agent": agent,
      "x-forwarded-for": from,
      ...(key && { authorization: `Bearer ${key}` }),
      ...(once && { "idempotency-key": once }),
      ...headers,
    },
    ...(json !== undefined && { json }),
  };
}

/** What the settings of a tally leave out. */
export function rules(deployment: Deployment): void {
  describe("the rules of a tally", () => {
    const env = { TALLY_KEYS: "admin:s-admin,count:s-count" };
    const api = useServer(deployment, { args: ["--config", configFile(), "--anonymous", "count"], env });

    /** How each was answered: the count, negative where it was left out. */
    const all = async (path: string, events: By[]): Promise<number[]> => {
      const counts: number[] = [];
      for (const by of events) {
        const { status, json } = await api.post(path, sending(by));
        expect(status).toBe(200);
        expect(json).toEqual(json.counted === false ? { count: json.count, counted: false } : { count: json.count });
        counts.push(json.counted === false ? -json.count : json.count);
      }
      return counts;
    };
    const countAt = async (path: string) => (await api.get(path, sending({}))).json.count;

    describe("unique", () => {
      test("counts an address with a browser once, on every node", async () => {
        const path = `${freshSubject().path}/visits`;
        const others = [{ from: "198.51.100.8" }, { agent: `${BROWSER}!` }];
        expect(await all(path, [{}, {}, {}, ...others, {}, ...others])).toEqual([1, -1, -1, 2, 3, -3, -3, -3]);
        expect(await countAt(path)).toBe(3);
      });

      test("counts an actor once, wherever he is", async () => {
        const path = `${freshSubject().path}/visits`;
        const [ann, bob] = [{ json: { actor: "ann" } }, { json: { actor: "Ann", by: 5 } }];
        const elsewhere = { ...ann, from: "198.51.100.9", agent: "another" };
        expect(await all(path, [ann, ann, elsewhere, bob, bob, {}, {}])).toEqual([1, -1, -1, 6, -6, 7, -7]);
      });

      test("is each subject's and metric's own", async () => {
        const [one, other] = [freshSubject().path, freshSubject().path];
        expect(await all(`${one}/visits`, [{}, {}])).toEqual([1, -1]);
        expect(await all(`${other}/visits`, [{}])).toEqual([1]);
        expect(await all(`${one}/views`, [{}, {}])).toEqual([1, -1]);
        expect(await all(`${one}/shares`, [{}, {}])).toEqual([1, 2]);
      });

      test("counts again when its time is over, from the one that counted", async () => {
        const path = `${freshSubject().path}/blinks`;
        const began = performance.now();
        let last = 1;
        const counted: number[] = [];
        while (counted.length < 3) {
          const [count = 0] = await all(path, [{}]);
          if (count > 0) {
            expect(count).toBe(last++);
            counted.push(performance.now() - began);
          }
        }
        // All the repeats in between have prolonged nothing.
        expect(counted[1]).toBeGreaterThan(950);
        expect(counted[2]).toBeLessThan(6_000);
      });

      test("of many at once counts one", async () => {
        for (let round = 0; round < 5; round++) {
          const path = `${freshSubject().path}/visits`;
          const replies = await Promise.all(Array.from({ length: 40 }, () => api.post(path, sending({}))));
          expect(replies.map(({ status }) => status)).toEqual(replies.map(() => 200));
          expect(replies.filter(({ json }) => json.counted !== false)).toHaveLength(1);
          expect(await eventually(() => expectCount(api, path, 1))).toBe(1);
        }
      });

      test("takes any id", async () => {
        for (const id of ["%F0%9F%90%A7", "a%2Fb", "__proto__", "%20", "e%CC%81", "%C3%A9", "%22%5C"]) {
          const path = `/v1/subjects/rules/${id}/visits`;
          const actor = decodeURIComponent(id);
          expect(await all(path, [{ json: { actor } }, { json: { actor } }, {}, {}])).toEqual([1, -1, 2, -2]);
        }
      });
    });

    describe("bots", () => {
      test("are left out, and those that are allowed are not", async () => {
        const path = `${freshSubject().path}/views`;
        const events = [{ agent: GOOGLEBOT }, { agent: MONITOR }, { agent: "curl/8.5.0" }, {}, { agent: GOOGLEBOT }];
        expect(await all(path, events)).toEqual([-0, 1, -1, 2, -2]);
      });

      test("take nobody's turn", async () => {
        const path = `${freshSubject().path}/views`;
        expect(await all(path, [{ agent: GOOGLEBOT }, { agent: GOOGLEBOT, json: { actor: "x" } }])).toEqual([-0, 1]);
      });

      test("may tell of others: with a key, or with the actor", async () => {
        const path = `${freshSubject().path}/reads`;
        const told = [
          { agent: "curl/8.5.0", key: "s-count" },
          { agent: GOOGLEBOT, key: "s-admin" },
          { agent: "node", json: { actor: "ann" } },
        ];
        expect(await all(path, [...told, { agent: "node" }])).toEqual([1, 2, 3, -3]);
      });
    });

    describe("ignore", () => {
      test("leaves networks out, however their addresses are spelt", async () => {
        const path = `${freshSubject().path}/outside`;
        const events = ["10.1.2.3", "::ffff:10.9.9.9", "[::ffff:a00:1]:80", "11.0.0.1", "::ffff:11.0.0.1"];
        expect(
          await all(
            path,
            events.map((from) => ({ from })),
          ),
        ).toEqual([-0, -0, -0, 1, 2]);
        const views = `${freshSubject().path}/views`;
        expect(
          await all(
            views,
            ["fd12::7", "203.0.113.9", "fe80::7"].map((from) => ({ from })),
          ),
        ).toEqual([-0, -0, 1]);
      });

      test("holds for everyone there, with a key too", async () => {
        const path = `${freshSubject().path}/outside`;
        const events = [{ key: "s-admin" }, { json: { actor: "ann" } }].map((by) => ({ ...by, from: "10.1.2.3" }));
        expect(await all(path, events)).toEqual([-0, -0]);
      });

      test("believes what the proxy saw, not what the caller wrote before it", async () => {
        const path = `${freshSubject().path}/outside`;
        expect(await all(path, [{ from: "10.1.2.3, 198.51.100.7" }, { from: "198.51.100.7, 10.1.2.3" }])).toEqual([
          1, -1,
        ]);
        const forwarded = { forwarded: "for=10.1.2.3" };
        const { json } = await api.post(path, { headers: { "user-agent": BROWSER, ...forwarded } });
        expect(json).toEqual({ count: 1, counted: false });
      });
    });

    describe("what is left out", () => {
      test("is 204 to who wants no more", async () => {
        const path = `${freshSubject().path}/visits`;
        const headers = { prefer: "return=minimal" };
        for (let i = 0; i < 2; i++) {
          const reply = await api.post(path, sending({ headers }));
          expect([reply.status, reply.text]).toEqual([204, ""]);
        }
        expect(await countAt(path)).toBe(1);
      });

      test("is refused all the same where it is wrong", async () => {
        const { path } = freshSubject();
        const wrong = sending({ agent: GOOGLEBOT, json: { by: 0 } });
        expectProblem(await api.post(`${path}/views`, wrong), 400, "bad-input");
        expectProblem(await api.post(`${path}/nothing`, sending({})), 404, "unknown-metric");
      });

      test("is counted, by metric and reason", async () => {
        const totals = async () => {
          const counts: Record<string, number> = { unique: 0, bot: 0, ignored: 0 };
          for (let i = 0; i < deployment.nodes; i++) {
            const { text } = await api.node(i).get("/metrics", sending({ key: "s-admin" }));
            for (const [, reason, value] of text.matchAll(
              /^tally_left_out_total\{metric="views",reason="(\w+)"\} (\d+)$/gm,
            )) {
              counts[reason as string] = (counts[reason as string] ?? 0) + Number(value);
            }
            expect(text).toContain('tally_left_out_total{metric="reads",reason="bot"}');
            expect(text).not.toContain('tally_left_out_total{metric="shares"');
          }
          return counts as { unique: number; bot: number; ignored: number };
        };
        const before = await totals();
        const path = `${freshSubject().path}/views`;
        await all(path, [{}, { json: { by: 3 } }, { agent: GOOGLEBOT, json: { by: 4 } }, { from: "10.0.0.1" }]);
        const after = await totals();
        expect(after).toEqual({ unique: before.unique + 3, bot: before.bot + 4, ignored: before.ignored + 1 });
      });
    });

    describe("with an Idempotency-Key", () => {
      test("a repeat is treated as the event was", async () => {
        const path = `${freshSubject().path}/visits`;
        const [first, second] = [{ once: "first" }, { once: "second" }];
        expect(await all(path, [first, first, {}, second, second, first])).toEqual([1, 1, -1, -1, -1, 1]);
        expect(await countAt(path)).toBe(1);
      });

      test("a repeat is treated so when the time is over, too", async () => {
        // Long enough for two events on a busy machine, the second of which waits until the other node shows the first.
        const path = `${freshSubject().path}/pauses`;
        expect(await all(path, [{ once: "first" }, { once: "second" }])).toEqual([1, -1]);
        await Bun.sleep(4_050);
        expect(await all(path, [{ once: "second" }, { once: "first" }, {}, {}])).toEqual([-1, 1, 2, -2]);
      });

      test("many repeats at once are one", async () => {
        const path = `${freshSubject().path}/visits`;
        const replies = await Promise.all(Array.from({ length: 32 }, () => api.post(path, sending({ once: "same" }))));
        expect(new Set(replies.map(({ text }) => text))).toEqual(new Set(['{"count":1}']));
      });

      test("another body is refused, counted or left out", async () => {
        const path = `${freshSubject().path}/visits`;
        await all(path, [{ once: "first" }, { once: "second" }]);
        for (const once of ["first", "second"])
          expectProblem(await api.post(path, sending({ once, json: { by: 2 } })), 422, "key-reused");
      });
    });

    describe("holds for the lines of POST /v1/events", () => {
      const events = (lines: string[], by: By, type = "text/plain") =>
        api.post("/v1/events", { headers: { ...sending(by).headers, "content-type": type }, body: lines.join("\n") });

      test("each by itself, of whoever sends them", async () => {
        const { subject, path } = freshSubject();
        const lines = [`visits ${subject}`, `visits ${subject} 3`, `shares ${subject} 2`, `visits ${subject}`];
        const taken = { accepted: 4, rejected: 0, errors: [] };
        for (const counts of [
          { visits: 1, shares: 2 },
          { visits: 1, shares: 4 },
        ]) {
          expect((await events(lines, {})).json).toEqual(taken);
          expect(await eventually(() => expectCounts(api, path, counts))).toMatchObject(counts);
        }
        await events([`views ${subject}`], { agent: GOOGLEBOT });
        await events([`views ${subject}`, `outside ${subject}`], { from: "10.1.2.3" });
        await events([`outside ${subject}`], {});
        expect(await eventually(() => expectCounts(api, path, { outside: 1 }))).toMatchObject({ views: 0, visits: 1 });
      });

      test("of the actors they name", async () => {
        const { subject, path } = freshSubject();
        const lines = ["ann", "bob", "ann", "Ann"].map((actor) => JSON.stringify({ metric: "views", subject, actor }));
        const json = "application/x-ndjson";
        for (const from of ["198.51.100.20", "198.51.100.21"])
          expect((await events(lines, { from, agent: GOOGLEBOT }, json)).json.accepted).toBe(4);
        expect(await eventually(() => expectCounts(api, path, { views: 3 }))).toMatchObject({ views: 3 });
      });

      test("as for single events: one visitor counts once by either", async () => {
        const { subject, path } = freshSubject();
        expect(await all(`${path}/visits`, [{}])).toEqual([1]);
        await events([`visits ${subject}`], {});
        await events([`views ${subject}`], {});
        expect(await eventually(() => expectCounts(api, path, { views: 1 }))).toMatchObject({ visits: 1 });
        expect(await all(`${path}/views`, [{}])).toEqual([-1]);
      });
    });

    test("an event of long ago, told by an admin, is nobody's visit", async () => {
      const path = `${freshSubject().path}/visits`;
      const old = { key: "s-admin", json: { at: "2020-02-29T12:00:00Z" } };
      expect(await all(path, [{}, old, old, {}])).toEqual([1, 2, 3, -3]);
    });
  });

  describe("the rules of a tally in protected mode", () => {
    const api = useServer(deployment, { args: ["--config", configFile()] });

    test("know this machine's callers by their programs", async () => {
      const path = `${freshSubject().path}/visits`;
      const post = async (agent: string) => (await api.post(path, { headers: { "user-agent": agent } })).json;
      expect(await post("one")).toEqual({ count: 1 });
      expect(await post("one")).toEqual({ count: 1, counted: false });
      expect(await post("two")).toEqual({ count: 2 });
    });
  });
}

async function expectCount(api: Api, path: string, count: number): Promise<number> {
  const reply = await api.get(path, sending({}));
  expect(reply.json.count).toBe(count);
  return reply.json.count;
}

/** On every node: what one has counted, others show after a flush. */
async function expectCounts(api: Api, path: string, counts: Record<string, number>): Promise<Record<string, number>> {
  let shown: Record<string, number> = {};
  for (const _ of api.urls) {
    shown = (await api.get(path, sending({}))).json.counts;
    expect(shown).toMatchObject(counts);
  }
  return shown;
}
