import { describe, expect, test } from "bun:test";
import { type Deployment, freshSubject, useOpened, useServer } from "../support/contract.ts";
import { WebhookReceiver } from "../support/webhook-receiver.ts";

const SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/** Who is told that a count has been reached. */
export function webhooks(deployment: Deployment): void {
  describe("webhooks", () => {
    const standard = new WebhookReceiver(SECRET);
    const raw = new WebhookReceiver("any text");
    useOpened(async () => ({ stop: () => Promise.all([standard.stop(), raw.stop()]) }));
    const hooks = [
      { metric: "likes", at: [3, 2, 3], url: standard.url("/likes"), secret: SECRET },
      { metric: "views", at: [10, 100, 1000], url: standard.url("/views"), secret: SECRET },
      { metric: "views", at: [100], url: raw.url("/views"), secret: "any text" },
    ];
    const api = useServer(deployment, { args: ["--webhooks", JSON.stringify(hooks)] });
    const PAST = "2026-01-01T00:00:00Z";

    test("a relation that reaches a count is told once, signed, also when it falls and reaches it again", async () => {
      const { subject, path } = freshSubject();
      for (const actor of [7, 8]) await api.put(`${path}/likes/${actor}`);
      await standard.until(subject, [2]);
      await api.delete(`${path}/likes/8`);
      await api.put(`${path}/likes/8`);
      await api.put(`${path}/likes/9`);
      await standard.until(subject, [2, 3]);
      const [first] = standard.told.filter(({ message }) => message.subject === subject);
      expect(first).toEqual({
        path: "/likes",
        id: expect.stringMatching(/^milestone_[\w-]{22}$/),
        message: { type: "milestone", subject, metric: "likes", threshold: 2, count: 2, at: expect.any(String) },
      });
      expect(Math.abs(Date.parse(first?.message.at as string) - Date.now())).toBeLessThan(60_000);
      expect([standard.wrong, raw.wrong]).toEqual([0, 0]);
    });

    test("a tally that jumps over several is told each, to each that asked", async () => {
      const { subject, path } = freshSubject();
      await api.post(`${path}/views`, { json: { by: 9 } });
      await api.post(`${path}/views`, { json: { by: 800 } });
      await standard.until(subject, [10, 100]);
      await raw.until(subject, [100]);
      await api.post(`${path}/views`, { json: { by: 1_000 } });
      await standard.until(subject, [10, 100, 1000]);
      for (const { message } of standard.told) expect(message.count).toBeGreaterThanOrEqual(message.threshold);
      expect(raw.thresholds(subject)).toEqual([100]);
      expect(new Set(standard.told.map(({ id }) => id)).size).toBe(standard.told.length);
    });

    test("what is brought in of another time, or set, reaches nothing, and counts for what comes then", async () => {
      const set = freshSubject();
      const past = freshSubject();
      const known = freshSubject();
      await api.post(`${past.path}/views`, { json: { by: 50, at: PAST } });
      for (const actor of [1, 2]) await api.put(`${past.path}/likes/${actor}`, { json: { at: PAST } });
      if (deployment.name === "embedded") await api.put(`${set.path}/views`, { json: { count: 99 } });
      else await api.post(`${set.path}/views`, { json: { by: 99, at: PAST } });
      // In batches of their own.
      await api.put(`${known.path}/likes/1`);
      await api.put(`${known.path}/likes/2`);
      await standard.until(known.subject, [2]);
      await api.post(`${past.path}/views`, { json: { by: 1 } });
      await api.post(`${set.path}/views`);
      await api.put(`${past.path}/likes/3`);
      await standard.until(set.subject, [100]);
      await standard.until(past.subject, [3]);
      await raw.until(set.subject, [100]);
    });

    test("odd ids arrive as they are", async () => {
      const id = '💙 "é%2F\u2028';
      const path = `/v1/subjects/odd/${encodeURIComponent(id)}/likes`;
      await api.put(`${path}/1`);
      await api.put(`${path}/2`);
      await standard.until(`odd/${id}`, [2]);
    });
  });
}
