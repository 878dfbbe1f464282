import { describe, expect, test } from "bun:test";
import { type Api, type Deployment, expectProblem, freshSubject, type Reply, useServer } from "../support/contract.ts";
import { eventually } from "../support/eventually.ts";

const TEXT = { "content-type": "text/plain;charset=UTF-8" };
const NDJSON = { "content-type": "application/x-ndjson" };

export const text = (api: Api, body: string | Uint8Array): Promise<Reply> =>
  api.post("/v1/events", { headers: TEXT, body });
export const ndjson = (api: Api, lines: readonly unknown[], headers: Record<string, string> = {}): Promise<Reply> => {
  const body = lines.map((line) => (typeof line === "string" ? line : JSON.stringify(line))).join("\n");
  return api.post("/v1/events", { headers: { ...NDJSON, ...headers }, body });
};

/** On every node: bulk answers tell no count that could be waited for. */
export async function expectCount(api: Api, path: string, count: number): Promise<void> {
  for (const [i] of api.urls.entries()) {
    await eventually(async () => expect((await api.node(i).alone().get(path)).json.count).toBe(count));
  }
}

/** Many at once. */
export function events(api: Api): void {
  describe("POST /v1/events as text", () => {
    test("counts a line each, with or without a number", async () => {
      const { subject, path } = freshSubject();
      const reply = await text(
        api,
        `views ${subject} 3\nshares ${subject}\nviews ${subject}\nviews ${subject} 1000000`,
      );
      expect(reply.status).toBe(200);
      expect(reply.text).toBe('{"accepted":4,"rejected":0,"errors":[]}');
      expect(reply.headers.get("content-type")).toBe("application/json");
      await expectCount(api, `${path}/views`, 1_000_004);
      await expectCount(api, `${path}/shares`, 1);
    });

    test("a beacon is one line without an end", async () => {
      const { subject, path } = freshSubject();
      expect((await text(api, `views ${subject}`)).json).toEqual({ accepted: 1, rejected: 0, errors: [] });
      await expectCount(api, `${path}/views`, 1);
    });

    test("names bad lines with their numbers and counts the others", async () => {
      const { subject, path } = freshSubject();
      const bad = [
        "views",
        "clicks a/b",
        "likes a/b",
        "views a",
        "views Article/1",
        "views a/",
        "views a/.",
        "views a/%2e%2e",
      ];
      bad.push("views a/b 0", "views a/b 1000001", "views a/b -1", "views a/b 1.5", "views a/b 3 4", "views a/%zz");
      bad.push(
        "views a/%ff",
        "views a/%00",
        "views a/é",
        `views a/${"x".repeat(129)}`,
        `views ${"a".repeat(33)}/b`,
        "__proto__ a/b",
      );
      bad.push(`views a/${"x".repeat(5000)}`, "{}", "views a/b\tx", "views a/%0a");
      const lines = bad.flatMap((line) => [`views ${subject}`, line]);
      const { json } = await text(api, `${lines.join("\n")}\n`);
      expect(json.accepted).toBe(bad.length);
      expect(json.rejected).toBe(bad.length);
      expect(json.errors.map(({ line }: { line: number }) => line)).toEqual(bad.map((_, i) => 2 * i + 2));
      for (const { message } of json.errors) expect(message).toMatch(/^\S.*\S$/);
      // Not that the line lacks an actor: it could not have one.
      expect(json.errors[2].message).toBe("likes is a relation: its acts come as NDJSON, which names the actor");
      await expectCount(api, `${path}/views`, bad.length);
    });

    test("skips blank lines, which have their numbers; takes CRLF and more blanks", async () => {
      const { subject, path } = freshSubject();
      const { json } = await text(api, `\n\r\n   \r\nviews ${subject}\r\n  views\t${subject}   2 \r\n\nviews\r\n`);
      expect(json).toMatchObject({ accepted: 2, rejected: 1, errors: [{ line: 7 }] });
      await expectCount(api, `${path}/views`, 3);
    });

    test("reports the first hundred errors, and counts all", async () => {
      const { json } = await text(api, "nonsense\n".repeat(250));
      expect(json).toMatchObject({ accepted: 0, rejected: 250 });
      expect(json.errors.map(({ line }: { line: number }) => line)).toEqual(
        Array.from({ length: 100 }, (_, i) => i + 1),
      );
    });

    test("ids are percent-encoded, and opaque", async () => {
      const mark = `${freshSubject().subject.slice("article/".length)}-`;
      const ids = ["a b", "a/b", "%2F", "😀", "e\u0301", "é", "__proto__", '"q"', "A", "a", "x".repeat(100), "..."];
      const body = ids.flatMap((id, i) => new Array(i + 1).fill(`views article/${encodeURIComponent(`${mark}${id}`)}`));
      expect((await text(api, body.join("\n"))).json).toMatchObject({ accepted: body.length, rejected: 0 });
      for (const [i, id] of ids.entries())
        await expectCount(api, `/v1/subjects/article/${encodeURIComponent(`${mark}${id}`)}/views`, i + 1);
    });
  });

  describe("POST /v1/events as NDJSON", () => {
    test("takes tallies and relations", async () => {
      const { subject, path } = freshSubject();
      const reply = await ndjson(api, [
        { metric: "views", subject },
        { metric: "views", subject, by: 3 },
        { metric: "views", subject, actor: "7" },
        { metric: "likes", subject, actor: "7", active: true },
        { metric: "likes", subject, actor: "8" },
        { metric: "likes", subject, actor: "9", active: false },
        { subject, actor: "8", active: false, metric: "likes" },
        "",
        '  { "subject": "article\\/x", "metric" : "views"}  ',
      ]);
      expect(reply.json).toEqual({ accepted: 8, rejected: 0, errors: [] });
      await expectCount(api, `${path}/views`, 5);
      await expectCount(api, `${path}/likes`, 1);
      expect((await api.get(`${path}/likes/7`)).json.active).toBe(true);
      expect((await api.get(`${path}/likes/8`)).json.active).toBe(false);
    });

    test("acts on one register end in the last line's", async () => {
      const { subject, path } = freshSubject();
      const lines = [];
      for (let i = 0; i < 600; i++) {
        lines.push({
          metric: "likes",
          subject,
          actor: `a${i % 7}`,
          active: (i % 7) % 2 === (Math.floor(i / 7) + 1) % 2,
        });
      }
      expect((await ndjson(api, lines)).json).toMatchObject({ accepted: 600, rejected: 0 });
      const last = new Map(lines.map(({ actor, active }) => [actor, active]));
      for (const [actor, active] of last) expect((await api.get(`${path}/likes/${actor}`)).json.active).toBe(active);
      await expectCount(api, `${path}/likes`, [...last.values()].filter(Boolean).length);
    });

    test("names what is wrong with a line", async () => {
      const { subject } = freshSubject();
      const { json } = await ndjson(api, [
        '{"metric":"views"',
        "[]",
        "null",
        { metric: "views" },
        { metric: "views", subject, by: "3" },
        { metric: "views", subject, by: 0 },
        { metric: "views", subject, count: 3 },
        { metric: "views", subject, active: true },
        { metric: "likes", subject },
        { metric: "likes", subject, actor: "7", by: 1 },
        { metric: "likes", subject, actor: "" },
        { metric: "likes", subject, actor: "me" },
        { metric: "clicks", subject },
        { metric: "views", subject: "article/.." },
        { metric: "views", subject: "article/\u0000" },
        '{"metric":"views","subject":"article/\\ud800"}',
        { metric: "views", subject: `article/${"é".repeat(65)}` },
        '{"metric":"views","subject":"article/1","__proto__":1}',
        { metric: "views", subject, at: "yesterday" },
        `{"metric":"views","subject":"${subject}","by":1e999}`,
      ]);
      expect(json.accepted).toBe(0);
      const messages = new Map(
        json.errors.map((error: { line: number; message: string }) => [error.line, error.message]),
      );
      const expected = [
        "not JSON: column 18",
        "object",
        "object",
        "/subject",
        "/by",
        "/by",
        "/count",
        "/active",
        "/actor",
      ];
      expected.push(
        "/by",
        "/actor",
        "/actor",
        "clicks",
        "/subject",
        "/subject",
        "/subject",
        "/subject",
        "/__proto__",
        "/at",
        "/by",
      );
      for (const [i, part] of expected.entries()) expect(messages.get(i + 1)).toContain(part);
    });

    test("bytes that are no UTF-8 spoil their line only", async () => {
      const { subject, path } = freshSubject();
      const good = Buffer.from(`{"metric":"views","subject":"${subject}"}\n`);
      const bad = Buffer.from([...Buffer.from('{"metric":"views","subject":"article/'), 0xff, ...Buffer.from('"}\n')]);
      const body = Buffer.concat([good, bad, good]);
      const { json } = await api.post("/v1/events", { headers: NDJSON, body });
      expect(json).toMatchObject({ accepted: 2, rejected: 1, errors: [{ line: 2 }] });
      await expectCount(api, `${path}/views`, 2);
    });

    test("`at` says when", async () => {
      const { subject, path } = freshSubject();
      const at = "2020-01-02T03:04:05.000Z";
      const { json } = await ndjson(api, [
        { metric: "views", subject, by: 2, at },
        { metric: "likes", subject, actor: "7", at },
      ]);
      expect(json).toEqual({ accepted: 2, rejected: 0, errors: [] });
      await expectCount(api, `${path}/views`, 2);
      expect((await api.get(`${path}/likes/7`)).json).toEqual({ active: true, count: 1, at });
    });
  });

  describe("POST /v1/events", () => {
    test("wants a content type it knows; none for an empty body", async () => {
      for (const type of ["application/json", "text/html", "text/plainer", "constructor"])
        expectProblem(
          await api.post("/v1/events", { headers: { "content-type": type }, body: "x" }),
          415,
          "wrong-content-type",
        );
      expect((await api.post("/v1/events")).json).toEqual({ accepted: 0, rejected: 0, errors: [] });
      for (const type of ["TEXT/PLAIN", "application/x-ndjson; charset=utf-8"])
        expect((await api.post("/v1/events", { headers: { "content-type": type }, body: "" })).status).toBe(200);
      const get = await api.get("/v1/events");
      expectProblem(get, 405, "method-not-allowed");
      expect(get.headers.get("allow")).toBe("POST, OPTIONS");
    });

    test("a body in pieces is read as it comes", async () => {
      const { subject, path } = freshSubject();
      const body = Buffer.from(`views ${subject} 2\n`.repeat(500));
      const pieces = new ReadableStream({
        start(controller) {
          for (let at = 0, step = 1; at < body.length; at += step, step = (step * 7) % 101) {
            controller.enqueue(body.subarray(at, at + step));
          }
          controller.close();
        },
      });
      const answer = await fetch(new URL("/v1/events", api.url), { method: "POST", headers: TEXT, body: pieces });
      expect(await answer.json()).toEqual({ accepted: 500, rejected: 0, errors: [] });
      await expectCount(api, `${path}/views`, 1_000);
    });

    test("more than 256 MiB is too large", async () => {
      const headers = { ...TEXT, "content-length": String(256 * 1024 * 1024 + 1) };
      const request = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
      const answer = Promise.withResolvers<string>();
      const { hostname, port } = new URL(api.url);
      const socket = await Bun.connect({
        hostname,
        port: Number(port),
        socket: { data: (_, data) => answer.resolve(data.toString()) },
      });
      socket.write(`POST /v1/events HTTP/1.1\r\nhost: ${hostname}:${port}\r\n${request.join("")}\r\nviews a/b\n`);
      expect(await answer.promise).toStartWith("HTTP/1.1 413");
      socket.end();
    });
  });
}

/** Who may send what. */
export function eventsAccess(deployment: Deployment): void {
  describe("POST /v1/events by role", () => {
    const keys = "read:secret-read,count:secret-count,write:secret-write,admin:secret-admin";
    const api = useServer(deployment, { env: { TALLY_KEYS: keys } });
    const as = (role: string) => ({ authorization: `Bearer secret-${role}` });

    test("count may send tallies, write relations too, admin times", async () => {
      const { subject } = freshSubject();
      const lines = [
        { metric: "views", subject },
        { metric: "likes", subject, actor: "7" },
        { metric: "views", subject, at: "2020-01-01T00:00:00Z" },
      ];
      expectProblem(await ndjson(api, lines, as("read")), 403, "forbidden");
      expectProblem(await ndjson(api, lines), 401, "unauthorized");
      const refused = async (role: string) => {
        const { json } = await ndjson(api, lines, as(role));
        expect(json.accepted + json.rejected).toBe(3);
        return json.errors.map(({ line }: { line: number }) => line);
      };
      expect(await refused("count")).toEqual([2, 3]);
      expect(await refused("write")).toEqual([3]);
      expect(await refused("admin")).toEqual([]);
    });
  });
}
