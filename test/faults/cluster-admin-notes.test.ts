import { expect, test } from "bun:test";
import { type Api, freshSubject, type Reply, useOpened } from "../support/contract.ts";
import { eventually } from "../support/eventually.ts";
import { untilEqual } from "../support/stores-away.ts";
import { TwoNodes } from "../support/two-nodes.ts";

const nodes = useOpened(() => TwoNodes.start());

type Subject = ReturnType<typeof freshSubject>;

const JOBS: Record<
  string,
  { ask(api: Api, subject: Subject, other: Subject): Promise<Reply>; left: [number, number] }
> = {
  "a set": { ask: (api, { path }) => api.put(`${path}/views`, { json: { count: 30 } }), left: [30, 0] },
  "an erasure": { ask: (api, { path }) => api.delete(path), left: [0, 0] },
  "a merge": {
    ask: (api, from, to) => api.post("/v1/merge", { json: { from: from.subject, to: to.subject } }),
    left: [0, 3],
  },
};

const CASES = Object.entries(JOBS).flatMap(([name, job]) => [
  { name, ...job, hasSpool: false, cutMs: 500 },
  // A merge is refused as long as there is one.
  ...(name === "a merge" ? [] : [{ name, ...job, hasSpool: true, cutMs: 1_500 }]),
]);

for (const { name, ask, left, hasSpool, cutMs } of CASES) {
  const what = hasSpool ? "tallies and acts" : "tallies";
  test(`${name} has the ${what} that were shown before it, though another node has yet to bring them to Kafka`, async () => {
    const [subject, other] = [freshSubject(), freshSubject()];
    const { kafka } = nodes().ways(0);
    await kafka.cut();
    try {
      for (let i = 0; i < 3; i++) await nodes().api(0).post(`${subject.path}/views`);
      if (hasSpool) await nodes().api(0).put(`${freshSubject().path}/likes/7`);
      await eventually(async () => expect((await nodes().api(1).get(subject.path)).json.counts.views).toBe(3));
      const asked = ask(nodes().api(1), subject, other);
      await Bun.sleep(cutMs);
      await kafka.heal();
      // Partitions of the node that was cut off are taken over in their own time.
      expect([200, 202]).toContain((await asked).status);
    } finally {
      await kafka.heal();
    }
    // Whatever was in the outbox then is in the ledger, too.
    const later = freshSubject();
    await nodes().api(0).post(`${later.path}/views`);
    await eventually(() => untilEqual(nodes(), later.subject, { views: 1 }), 40_000);
    await untilEqual(nodes(), subject.subject, { views: left[0] });
    await untilEqual(nodes(), other.subject, { views: left[1] });
  }, 90_000);
}
