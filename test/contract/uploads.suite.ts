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
