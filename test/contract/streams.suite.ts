import { describe, expect, test } from "bun:test";
import { type Api, expectBadInput, expectProblem, freshSubject } from "../support/contract.ts";
import { EventReader } from "../support/event-reader.ts";
import { eventually } from "../support/eventually.ts";

const ALL = ["views", "shares", "likes", "favorites", "follows"];
const encoded = (subject: string) => {
  const slash = subject.indexOf("/");
  return `/v1/subjects/${subject.slice(0, slash)}/${encodeURIComponent(subject.slice(slash + 1))}`;
};

/** Counts that move while you look. */
export function streams(api: Api): void {
  const follow = (subjects: string[], metrics?: string[], headers?: Record<string, string>) =>
    EventReader.follow(api.url, subjects, metrics, headers);
  const post = (json: unknown) =>
    EventReader.open(new URL("/v1/stream", api.url), {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(json),
    });

  describe("a stream", () => {
    test("begins with every count of every subject, then tells each change", async () => {
      const a = freshSubject();
      const b = freshSubject("user");
      await api.post(`${a.path}/views`, { json: { by: 3 } });
      await api.put(`${a.path}/likes/7`);
      await api.alone().get(a.path);
      const reader = await follow([a.subject, b.subject]);
      const { headers } = reader.answer;
      expect(headers.get("content-type")).toBe("text/event-stream");
      expect(headers.get("cache-control")).toBe("no-store");
      expect(headers.get("x-accel-buffering")).toBe("no");
      expect(headers.get("x-request-id")).toBeTruthy();
      await reader.until(10);
      const first = reader.events.slice(0, 10);
      expect(first.map(({ data }) => [data.subject, data.metric])).toEqual(
        [a.subject, b.subject].flatMap((subject) => ALL.map((metric) => [subject, metric])),
      );
      for (const { event, id } of first) expect([event, id]).toEqual(["count", expect.stringMatching(/^\d+$/)]);
      expect(reader.latest(a.subject, "likes")).toBe(1);
      expect(reader.latest(b.subject, "likes")).toBe(0);
      await reader.untilCount(a.subject, "views", 3);

      await api.put(`${b.path}/follows/9`);
      await reader.untilCount(b.subject, "follows", 1);
      await api.delete(`${a.path}/likes/7`);
      await reader.untilCount(a.subject, "likes", 0);
      await api.post(`${a.path}/views`);
      await reader.untilCount(a.subject, "views", 4);
      await reader.close();
    });

    test("shows at once what was answered before", async () => {
      for (let i = 0; i < 5; i++) {
        const { subject, path } = freshSubject();
        await api.put(`${path}/likes/7`);
        const reader = await follow([subject], ["likes"]);
        await reader.until(1);
        expect(reader.events[0]?.data).toEqual({ subject, metric: "likes", count: 1 });
        await reader.close();
      }
    });

    test("of some metrics only, in their order, each once; duplicates are one", async () => {
      const { subject, path } = freshSubject();
      const reader = await follow([subject, subject], ["likes", "views", "likes"]);
      await api.put(`${path}/favorites/7`);
      await api.put(`${path}/likes/7`);
      await reader.untilCount(subject, "likes", 1);
      expect(reader.events.slice(0, 2).map(({ data }) => data.metric)).toEqual(["likes", "views"]);
      expect(reader.of(subject, "favorites")).toEqual([]);
      await reader.close();
    });

    test("merges what comes fast: at most 5 a second, rising, the last one told, nothing twice", async () => {
      const { subject, path } = freshSubject();
      const one = api.node(0);
      const reader = await follow([subject], ["views"]);
      await reader.until(1);
      const began = performance.now();
      let sent = 0;
      while (performance.now() - began < 2_500)
        sent += (await Promise.all(Array.from({ length: 20 }, () => one.post(`${path}/views`)))).length;
      await reader.untilCount(subject, "views", sent);
      const counts = reader.events.map(({ data }) => data.count);
      expect(counts).toEqual([...new Set(counts)].sort((a, b) => a - b));
      expect(counts.length).toBeGreaterThan(4);
      // By the server's own time, which the ids are: on the way some may catch up with others.
      const times = reader.events.map(({ id }) => Number(id));
      for (const from of times) {
        expect(times.filter((time) => time >= from && time < from + 1_000).length).toBeLessThanOrEqual(5);
      }
      const known = reader.events.length;
      await api.post(`${freshSubject().path}/views`);
      await Bun.sleep(450);
      expect(reader.events.length).toBe(known);
      await reader.close();
    });

    test("follows odd ids", async () => {
      const run = Math.random().toString(36).slice(2, 6);
      const odd = [
        "a/b",
        "é",
        "e\u0301",
        "💙",
        "%2F",
        "a b ",
        "__proto__",
        'q"\\',
        "Bob",
        "bob",
        "a&b=c#d?e+f",
        "\u2028",
      ];
      const subjects = [...odd, "é".repeat(60)].map((id) => `odd/${run}${id}`);
      const reader = await follow(subjects, ["likes"]);
      const other = await post({ subjects, metrics: ["likes"] });
      for (const subject of subjects) expect((await api.put(`${encoded(subject)}/likes/7`)).status).toBe(200);
      for (const from of [reader, other]) {
        for (const subject of subjects) await from.untilCount(subject, "likes", 1);
        await from.close();
      }
    });

    test("POST takes a thousand subjects, and no more", async () => {
      const id = Math.random().toString(36).slice(2);
      const subjects = Array.from({ length: 1_000 }, (_, i) => `many/${id}-${i}`);
      const reader = await post({ subjects });
      await reader.until(5_000);
      await api.put(`${encoded(subjects[999] as string)}/likes/7`);
      await reader.untilCount(subjects[999] as string, "likes", 1);
      expect(reader.events.length).toBe(5_001);
      await reader.close();
      expectBadInput(await api.post("/v1/stream", { json: { subjects: [...subjects, "many/1"] } }), "/subjects");
    });

    test("comes back with Last-Event-ID, to any node, with what has changed meanwhile", async () => {
      const { subject, path } = freshSubject();
      const reader = await follow([subject], ["likes"]);
      await api.put(`${path}/likes/7`);
      await reader.untilCount(subject, "likes", 1);
      const id = reader.events.at(-1)?.id as string;
      await reader.close();
      await api.put(`${path}/likes/8`);
      for (const [i, lastEventId] of [id, id, "", "of another server"].entries()) {
        const url = api.urls[i % api.urls.length] as string;
        const again = await EventReader.follow(url, [subject], ["likes"], { "last-event-id": lastEventId });
        await again.untilCount(subject, "likes", 2);
        await again.close();
      }
    });

    test("hears of what was done on every node", async () => {
      const { subject, path } = freshSubject();
      const readers = await Promise.all(api.urls.map((url) => EventReader.follow(url, [subject], ["views", "likes"])));
      for (let i = 1; i <= 4; i++) {
        await api.post(`${path}/views`);
        await api.put(`${path}/likes/${i}`);
      }
      for (const reader of readers) {
        await reader.untilCount(subject, "views", 4);
        await reader.untilCount(subject, "likes", 4);
        await reader.close();
      }
    });

    test("is counted while it is open", async () => {
      const open = async () => Number(/^tally_streams (\d+)$/m.exec((await api.node(0).get("/metrics")).text)?.[1]);
      // That the readers of other tests have gone the server may notice a moment later.
      await eventually(async () => expect(await open()).toBe(0));
      const readers = await Promise.all(Array.from({ length: 5 }, () => follow([freshSubject().subject])));
      expect(await open()).toBe(5);
      await Promise.all(readers.map((reader) => reader.close()));
      await eventually(async () => expect(await open()).toBe(0));
    });

    test("with a comment every 15 s, and beyond the 10 s after which quiet connections are cut", async () => {
      const began = performance.now();
      const reader = await follow([freshSubject().subject]);
      await eventually(async () => expect(reader.comments).toBe(1), 25_000);
      expect(performance.now() - began).toBeGreaterThan(14_000);
      await reader.close();
    }, 60_000);
  });

  describe("a stream is refused", () => {
    const get = (query: string) => api.get(`/v1/stream${query}`);
    const json = (json: unknown) => api.post("/v1/stream", { json });

    test("without subjects, or with wrong ones", async () => {
      expectBadInput(await get(""), "subject");
      expectBadInput(await get("?subject="), "subject");
      expectBadInput(await get("?subject=article"), "subject");
      expectBadInput(await get("?subject=a/1&subject=A/1"), "subject");
      expectBadInput(await get("?subject=a/%ff"), "subject");
      expectBadInput(await get("?subject=a/1&x=%zz"), "x");
      expectBadInput(await get(`?subject=a/${"x".repeat(129)}`), "subject");
      expectBadInput(await json({}), "/subjects");
      expectBadInput(await json({ subjects: [] }), "/subjects");
      expectBadInput(await json({ subjects: "a/1" }), "/subjects");
      expectBadInput(await json({ subjects: ["a/1", 2, "a/\u0000"] }), "/subjects/1", "/subjects/2");
      expectBadInput(await json({ subjects: ["a/1"], metric: "likes" }), "/metric");
      expectBadInput(await json({ subjects: ["a/1"], metrics: [] }), "/metrics");
      expectProblem(await api.post("/v1/stream", { body: "a/1" }), 415, "wrong-content-type");
    });

    test("with metrics that are not configured", async () => {
      expectProblem(await get("?subject=a/1&metric=clicks"), 404, "unknown-metric");
      expectProblem(await get("?subject=a/1&metric="), 404, "unknown-metric");
      expectProblem(await json({ subjects: ["a/1"], metrics: ["__proto__"] }), 404, "unknown-metric");
    });

    test("by other methods; HEAD has the headers alone", async () => {
      expect((await api.send("OPTIONS", "/v1/stream")).headers.get("allow")).toBe("GET, HEAD, POST, OPTIONS");
      expectProblem(await api.put("/v1/stream"), 405, "method-not-allowed");
      const head = await api.send("HEAD", "/v1/stream?subject=a/1");
      expect([head.status, head.text, head.headers.get("content-type")]).toEqual([200, "", "text/event-stream"]);
    });
  });
}
