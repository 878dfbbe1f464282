import { describe, expect, test } from "bun:test";
import { type Api, expectBadInput, expectProblem, freshSubject } from "../support/contract.ts";

const key = (key: string, json?: unknown) => ({ headers: { "idempotency-key": key }, ...(json ? { json } : {}) });

/** Idempotency keys. */
export function once(api: Api): void {
  describe("Idempotency-Key", () => {
    test("a repeat is not counted again and gets the current count", async () => {
      const path = `${freshSubject().path}/views`;
      expect((await api.post(path, key("a"))).json).toEqual({ count: 1 });
      expect((await api.post(path, key("a"))).json).toEqual({ count: 1 });
      expect((await api.post(path)).json).toEqual({ count: 2 });
      expect((await api.post(path, key("a"))).json).toEqual({ count: 2 });
      expect((await api.post(path, key("b", { by: 5 }))).json).toEqual({ count: 7 });
      expect((await api.post(path, key("b", { by: 5 }))).json).toEqual({ count: 7 });
      expect((await api.get(path)).json.count).toBe(7);
    });

    test("many repeats at once, on all threads, count once", async () => {
      const path = `${freshSubject().path}/views`;
      const replies = await Promise.all(Array.from({ length: 64 }, () => api.post(path, key("same", { by: 3 }))));
      expect(new Set(replies.map((reply) => reply.text))).toEqual(new Set(['{"count":3}']));
      expect((await api.get(path)).json.count).toBe(3);
    });

    test("belongs to its path, method and metric", async () => {
      const [one, other] = [freshSubject().path, freshSubject().path];
      await api.post(`${one}/views`, key("k"));
      expect((await api.post(`${other}/views`, key("k"))).json).toEqual({ count: 1 });
      expect((await api.post(`${one}/shares`, key("k"))).json).toEqual({ count: 1 });
      expect((await api.put(`${one}/likes/7`, key("k"))).json).toMatchObject({ active: true, changed: true });
      expect((await api.delete(`${one}/likes/7`, key("k"))).json).toMatchObject({ active: false, changed: true });
    });

    test("an actor who is called like a subject is another one", async () => {
      const { subject, path } = freshSubject();
      const actor = encodeURIComponent(subject);
      await api.put(`${path}/likes/${actor}`);
      await api.put(`${freshSubject().path}/likes/${actor}`);
      expect((await api.delete(path, key("k"))).json.erased.likes).toBe(1);
      expect((await api.delete(`/v1/actors/${actor}`, key("k"))).json.erased.likes).toBe(1);
      expect((await api.get(`/v1/actors/${actor}`)).json.counts.likes).toBe(0);
    });

    test("with another body is refused and counts nothing", async () => {
      const path = `${freshSubject().path}/views`;
      await api.post(path, key("k", { by: 3 }));
      expectProblem(await api.post(path, key("k", { by: 4 })), 422, "key-reused");
      expectProblem(await api.post(path, key("k")), 422, "key-reused");
      expect((await api.get(path)).json.count).toBe(3);
    });

    test("a late repeat of a like does not undo the unlike after it", async () => {
      const path = `${freshSubject().path}/likes/7`;
      await api.put(path, key("like"));
      await api.delete(path, key("unlike"));
      expect((await api.put(path, key("like"))).json).toMatchObject({ active: false, changed: false, count: 0 });
      expect((await api.get(path)).json).toEqual({ active: false, count: 0, at: null });
    });

    test("has 1 to 128 characters", async () => {
      const path = `${freshSubject().path}/views`;
      expectBadInput(await api.post(path, key("")), "Idempotency-Key");
      expectBadInput(await api.post(path, key("k".repeat(129))), "Idempotency-Key");
      expect((await api.post(path, key("k".repeat(128)))).status).toBe(200);
      expect((await api.post(path, key('"8e03978e-40d5-43dd-bc93-6894a57f9324"'))).status).toBe(200);
      expectBadInput(await api.put(`${freshSubject().path}/likes/7`, key("k".repeat(129))), "Idempotency-Key");
    });

    test("has its characters counted as those of UTF-8, where it is that", async () => {
      const path = `${freshSubject().path}/views`;
      // Headers are sent with a byte for each character.
      const utf8 = (text: string) => key(Buffer.from(text).toString("latin1"));
      expect((await api.post(path, utf8("é".repeat(65)))).json).toEqual({ count: 1 });
      expect((await api.post(path, utf8("é".repeat(128)))).json).toEqual({ count: 2 });
      expect((await api.post(path, utf8("😀".repeat(128)))).json).toEqual({ count: 3 });
      expect((await api.post(path, utf8("😀".repeat(128)))).json).toEqual({ count: 3 });
      expectBadInput(await api.post(path, utf8("é".repeat(129))), "Idempotency-Key");
      expectBadInput(await api.post(path, key("\xe9".repeat(129))), "Idempotency-Key");
      expect((await api.post(path, key("\xe9".repeat(128)))).json).toEqual({ count: 4 });
    });
  });
}
