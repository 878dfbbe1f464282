import { describe, expect, test } from "bun:test";
import { type Api, expectProblem, freshSubject, type Reply } from "../support/contract.ts";
import { ODD } from "../support/odd-ids.ts";
import { random } from "../support/random.ts";
import { TestConnection } from "../support/upload-connection.ts";
import { expectCount } from "./events.suite.ts";

const TEXT = "text/plain";
const NDJSON = "application/x-ndjson";
let keys = 0;
const freshKey = () => `upload-${++keys}`;

function send(api: Api, body: string, key: string, type = TEXT): Promise<Reply> {
  return api.post("/v1/events", { headers: { "content-type": type, "idempotency-key": key }, body });
}

/** Bodies with a key. */
export function uploads(api: Api): void {
  describe("POST /v1/events with an Idempotency-Key", () => {
    test("counts once, however often it is sent", async () => {
      const { subject, path } = freshSubject();
      const body = `views ${subject} 3\nshares ${subject}\nnonsense\nviews ${subject}\n`;
      const key = freshKey();
      for (let i = 0; i < 3; i++) {
        const reply = await send(api, body, key);
        expect(reply.status).toBe(200);
        expect(reply.json).toMatchObject({ accepted: 3, rejected: 1, errors: [{ line: 3 }] });
      }
      await expectCount(api, `${path}/views`, 4);
      await expectCount(api, `${path}/shares`, 1);
      await send(api, body, freshKey());
      await expectCount(api, `${path}/views`, 8);
    });

    test("another body with the key is refused", async () => {
      const { subject, path } = freshSubject();
      const key = freshKey();
      expect((await send(api, `views ${subject}`, key)).status).toBe(200);
      for (const other of [`views ${subject} 2`, `views ${subject}\nviews ${subject}`, `shares ${subject}`])
        expectProblem(await send(api, other, key), 422, "key-reused");
      // The last line's end, and CRLF, are no difference.
      for (const same of [`views ${subject}\n`, `views ${subject}`])
        expect((await send(api, same, key)).status).toBe(200);
      await expectCount(api, `${path}/views`, 1);
      expectProblem(await send(api, `views ${subject}`, "k".repeat(129)), 400, "bad-input");
    });

    test("a body that differs behind its first block is refused there, and what it has from there on does not count", async () => {
      const { subject, path } = freshSubject();
      const same = (lines: number) => Array.from({ length: lines }, () => `views ${subject}`);
      const body = [...same(9_000), `views ${subject}-a`];
      const key = freshKey();
      expect((await send(api, body.join("\n"), key)).json.accepted).toBe(9_001);
      const others = [
        [...same(4_096), ...body.slice(4_096).map((line) => `${line}-b`)],
        [...same(9_000), `views ${subject}-b`],
        [...same(9_000), `shares ${subject}-b`],
        // With a block that counts nothing, and nothing for so long that its lines would be numbered like the body's.
        [...same(4_096), ...same(4_096).fill("nonsense"), ...same(900), `views ${subject}-b`],
        [...same(4_096), ...same(4_096).fill(""), ...same(5_000), `views ${subject}-b`],
        // Shorter, longer, and cut short at a block's end.
        same(9_000),
        same(5_000),
        same(8_192),
        same(4_096),
        [...body, `views ${subject}-b`],
        [],
      ];
      for (const other of others)
        for (const url of api.urls) {
          const node = api.node(api.urls.indexOf(url));
          expectProblem(await send(node, other.join("\n"), key), 422, "key-reused");
        }
      for (let i = 0; i < 3; i++) expect((await send(api, body.join("\n"), key)).json.accepted).toBe(9_001);
      await expectCount(api, `${path}/views`, 9_000);
      await expectCount(api, `${path}-a/views`, 1);
      for (const each of ["", "-a"]) await expectCount(api, `${path}${each}-b/views`, 0);
      await expectCount(api, `${path}-b/shares`, 0);
    }, 60_000);

    test("a body that was refused is in nobody's way", async () => {
      const { subject, path } = freshSubject();
      const same = `views ${subject}\n`.repeat(4_096);
      const body = same.repeat(3) + `shares ${subject}\n`.repeat(5_000);
      for (let round = 0; round < 3; round++) {
        const key = freshKey();
        const begun = Buffer.from(`${same.repeat(2)}views ${subject}`);
        const connection = await TestConnection.open(api.urls[0] as string);
        await connection.begin({ key, type: TEXT, bytes: body.length });
        await connection.send(begun);
        await connection.send(Buffer.from("\n"));
        // Two blocks have counted, and the third has begun.
        await expectCount(api, `${path}/views`, 8_192 + round * 12_288);
        const other = same + `likes ${subject}\n`.repeat(4_096) + `views ${subject}-b\n`.repeat(9_000);
        expectProblem(await send(api, other, key), 422, "key-reused");
        connection.cut();
        expect((await send(api, body, key)).json.accepted).toBe(12_288 + 5_000);
        await expectCount(api, `${path}/views`, 12_288 + round * 12_288);
      }
      await expectCount(api, `${path}/shares`, 15_000);
      await expectCount(api, `${path}-b/views`, 0);
    }, 60_000);

    test("a body that ends with a block is not one that goes on", async () => {
      const { subject, path } = freshSubject();
      const body = `views ${subject}\n`.repeat(4_096);
      const key = freshKey();
      expect((await send(api, body, key)).json.accepted).toBe(4_096);
      expectProblem(await send(api, `${body}views ${subject}-b`, key), 422, "key-reused");
      expect((await send(api, body, key)).json.accepted).toBe(4_096);
      await expectCount(api, `${path}/views`, 4_096);
      await expectCount(api, `${path}-b/views`, 0);
    });

    test("an empty body is a body", async () => {
      const { subject, path } = freshSubject();
      const [key, other] = [freshKey(), freshKey()];
      expect((await send(api, `views ${subject}`, key)).status).toBe(200);
      expectProblem(await send(api, "", key), 422, "key-reused");
      const nothing = { accepted: 0, rejected: 0, errors: [] };
      for (const type of [TEXT, NDJSON]) expect((await send(api, "", other, type)).json).toEqual(nothing);
      const headers = { "idempotency-key": other };
      expect((await api.post("/v1/events", { headers })).json).toEqual(nothing);
      for (const body of [`views ${subject}`, "nonsense"])
        expectProblem(await send(api, body, other), 422, "key-reused");
      await expectCount(api, `${path}/views`, 1);
    });

    test("of bodies without a line that counts the key is the first one's, too", async () => {
      const { subject, path } = freshSubject();
      const key = freshKey();
      expect((await send(api, "nonsense\n", key)).json).toMatchObject({ accepted: 0, rejected: 1 });
      expectProblem(await send(api, `views ${subject}`, key), 422, "key-reused");
      await expectCount(api, `${path}/views`, 0);
    });

    test("of two bodies sent at once that part behind the first block one counts", async () => {
      for (let round = 0; round < 4; round++) {
        const { subject, path } = freshSubject();
        const key = freshKey();
        // Every second time they part at once, and begin with different subjects.
        const first = round % 2 === 0 ? `views ${subject}\n`.repeat(4_096) : "";
        const bodies = ["b", "c"].map((name) => first + `views ${subject}-${name}\n`.repeat(5_000));
        const sent = [0, 1, 2, 3].map((i) => send(api.node(i % api.urls.length), bodies[i >> 1] as string, key));
        const statuses = (await Promise.all(sent)).map(({ status }) => status);
        expect([...statuses].sort()).toEqual([200, 200, 422, 422]);
        const winner = statuses[0] === 200 ? "b" : "c";
        for (const name of ["b", "c"]) await expectCount(api, `${path}-${name}/views`, name === winner ? 5_000 : 0);
        if (first !== "") await expectCount(api, `${path}/views`, 4_096);
      }
    }, 60_000);

    test("relations of another body behind the first block do not change", async () => {
      const { subject, path } = freshSubject();
      const line = (actor: string) => JSON.stringify({ metric: "likes", subject, actor });
      const lines = Array.from({ length: 4_096 }, (_, i) => line(`a${i % 7}`));
      const key = freshKey();
      expect((await send(api, [...lines, line("p")].join("\n"), key, NDJSON)).json.accepted).toBe(4_097);
      expectProblem(await send(api, [...lines, line("q")].join("\n"), key, NDJSON), 422, "key-reused");
      await expectCount(api, `${path}/likes`, 8);
      expect((await api.get(`${path}/likes/q`)).json.active).toBe(false);
    });

    test("relations change once, in the order of their lines", async () => {
      const { subject, path } = freshSubject();
      const line = (actor: string, active: boolean) => JSON.stringify({ metric: "likes", subject, actor, active });
      const key = freshKey();
      const body = [line("1", true), line("2", true), line("2", true), line("1", false), line("3", false)].join("\n");
      expect((await send(api, body, key, NDJSON)).json).toEqual({ accepted: 5, rejected: 0, errors: [] });
      await expectCount(api, `${path}/likes`, 1);
      // What somebody does meanwhile is not undone by the repeat.
      await api.put(`${path}/likes/1`);
      await api.delete(`${path}/likes/2`);
      expect((await send(api, body, key, NDJSON)).json).toEqual({ accepted: 5, rejected: 0, errors: [] });
      await expectCount(api, `${path}/likes`, 1);
      expect((await api.get(`${path}/likes/1`)).json.active).toBe(true);
      expect((await api.get(`${path}/likes/2`)).json.active).toBe(false);
    });

    test("sent to every node and thread at once it counts once", async () => {
      const { subject, path } = freshSubject();
      const lines = Array.from({ length: 3_000 }, (_, i) => `views ${subject}-${i % 50} ${1 + (i % 3)}`);
      const relations = Array.from({ length: 300 }, (_, i) =>
        JSON.stringify({ metric: "likes", subject, actor: `a${i}` }),
      );
      const [key, other] = [freshKey(), freshKey()];
      const sent = [0, 1, 2, 3, 4, 5].map((i) => send(api.node(i % api.urls.length), lines.join("\n"), key));
      sent.push(...[0, 1, 2, 3].map((i) => send(api.node(i % api.urls.length), relations.join("\n"), other, NDJSON)));
      for (const reply of await Promise.all(sent)) {
        expect(reply.status, reply.text).toBe(200);
        expect(reply.json).toMatchObject({ rejected: 0 });
      }
      for (const i of [0, 1, 49]) {
        const each = lines.filter((line) => line.startsWith(`views ${subject}-${i} `));
        const sum = each.reduce((sum, line) => sum + Number(line.split(" ")[2]), 0);
        await expectCount(api, `${path}-${i}/views`, sum);
      }
      await expectCount(api, `${path}/likes`, 300);
    });

    test("broken off at any byte and sent again it counts once", async () => {
      const { below, pick, chance } = random(17);
      for (let round = 0; round < 4; round++) {
        const { subject } = freshSubject();
        const counts = new Map<string, number>();
        let good = 0;
        const lines = Array.from({ length: 9_000 }, () => {
          if (chance(0.02)) return pick(["", "nonsense", "clicks a/b", `views ${subject} 0`]);
          const [id, by] = [below(40), 1 + below(5)];
          counts.set(`${id}`, (counts.get(`${id}`) ?? 0) + by);
          good++;
          return `views ${subject}-${id} ${by}`;
        });
        const body = Buffer.from(lines.join("\n"));
        const key = freshKey();
        for (let tries = 0; tries < 3; tries++) {
          const connection = await TestConnection.open(pick(api.urls));
          const isChunked = chance(0.5);
          await connection.begin({ key, type: TEXT, bytes: isChunked ? null : body.length });
          await connection.send(body.subarray(0, below(body.length)));
          connection.cut();
        }
        const { json } = await send(api, body.toString(), key);
        expect(json.accepted).toBe(good);
        for (const [id, count] of counts) await expectCount(api, `/v1/subjects/${subject}-${id}/views`, count);
      }
    }, 120_000);

    test("odd ids of every kind, against a plain count", async () => {
      const mark = `${freshSubject().subject.slice("article/".length)}-`;
      const { below, pick, chance } = random(23);
      const views = new Map<string, number>();
      const likes = new Map<string, Map<string, boolean>>();
      const lines = Array.from({ length: 2_000 }, () => {
        const id = mark + pick(ODD).slice(0, 36);
        const subject = `article/${id}`;
        if (chance(0.5)) {
          const by = 1 + below(9);
          views.set(id, (views.get(id) ?? 0) + by);
          return JSON.stringify({ metric: "views", subject, by });
        }
        const [actor, active] = [`up ${pick(ODD).slice(0, 36)}`, chance(0.6)];
        const of = likes.get(id) ?? new Map<string, boolean>();
        likes.set(id, of.set(actor, active));
        return JSON.stringify({ metric: "likes", subject, actor, active });
      });
      const key = freshKey();
      for (let i = 0; i < 2; i++)
        expect((await send(api, lines.join("\r\n"), key, NDJSON)).json).toEqual({
          accepted: 2_000,
          rejected: 0,
          errors: [],
        });
      for (const [id, count] of views)
        await expectCount(api, `/v1/subjects/article/${encodeURIComponent(id)}/views`, count);
      for (const [id, of] of likes) {
        const path = `/v1/subjects/article/${encodeURIComponent(id)}/likes`;
        await expectCount(api, path, [...of.values()].filter(Boolean).length);
        const [actor, active] = pick([...of]);
        expect((await api.get(`${path}/${encodeURIComponent(actor)}`)).json.active).toBe(active);
      }
    });
  });
}
