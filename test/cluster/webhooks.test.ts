import { expect, test } from "bun:test";
import { eventually } from "../support/eventually.ts";
import { TwoNodes } from "../support/two-nodes.ts";
import { WebhookReceiver } from "../support/webhook-receiver.ts";

const SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

test("two nodes tell each milestone once, and all of them though one node is killed", async () => {
  const receiver = new WebhookReceiver(SECRET);
  const hooks = [{ metric: "likes", at: [1, 2, 3], url: receiver.url("/"), secret: SECRET }];
  const nodes = await TwoNodes.start(["--webhooks", JSON.stringify(hooks)]);
  const subjects = Array.from({ length: 20 }, (_, i) => `article/${i}`);
  const likeAll = (index: number, actor: number) =>
    Promise.all(
      subjects.map(async (subject) => {
        const url = new URL(`/v1/subjects/${subject}/likes/${actor}`, nodes.server(index).url);
        expect((await fetch(url, { method: "PUT" })).status).toBeLessThan(300);
      }),
    );
  const allTold = (thresholds: number[]) =>
    eventually(async () => {
      for (const subject of subjects)
        expect([subject, [...new Set(receiver.thresholds(subject))]]).toEqual([subject, thresholds]);
    }, 60_000);
  try {
    await likeAll(0, 1);
    await likeAll(1, 2);
    await allTold([1, 2]);
    expect(receiver.told.length).toBe(2 * subjects.length);
    await likeAll(1, 3);
    // Whatever it had taken is free when its lease is over.
    await eventually(async () => expect(receiver.told.length).toBeGreaterThan(2 * subjects.length + 2), 60_000);
    await nodes.server(0).kill();
    await allTold([1, 2, 3]);
    expect(receiver.wrong).toBe(0);
    expect(new Set(receiver.told.map(({ id }) => id)).size).toBe(3 * subjects.length);
    await nodes.startNode(0);
  } finally {
    await nodes.stop();
    await receiver.stop();
  }
}, 180_000);
