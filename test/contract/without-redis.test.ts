import { afterEach, describe, expect, test } from "bun:test";
import { LAG_MS_MAX, LOOK_MS_MAX } from "../../src/limits.ts";
import { freshSubject, useOpened } from "../support/contract.ts";
import { eventually } from "../support/eventually.ts";
import { soon, TIME, untilAsked, untilDegraded, untilEqual, untilReady } from "../support/stores-away.ts";
import { TwoNodes } from "../support/two-nodes.ts";

const nodes = useOpened(() => TwoNodes.start());
const here = () => nodes().api(0);
const cut = (...names: ("redis" | "kafka")[]) => Promise.all(names.map((name) => nodes().ways(0)[name].cut()));
const heal = () => Promise.all([nodes().ways(0).redis.heal(), nodes().ways(0).kafka.heal()]);

afterEach(async () => {
  await heal();
  await untilReady(here());
  await untilAsked(here());
}, 120_000);

describe("a node without Redis", () => {
  test("shows its own acts at once, though Kafka is away too, wherever they belong, also after SIGKILL", async () => {
    const { path, subject } = freshSubject();
    const first = `first-${subject}`;
    const second = `second-${subject} 👍`;
    const of = (actor: string) => `${path}/likes/${encodeURIComponent(actor)}`;
    await here().put(of(first));
    await here().post(`${path}/views`, { json: { by: 3 } });
    await untilEqual(nodes(), subject, { likes: 1, views: 3 });
    await cut("redis", "kafka");

    const statuses = [
      await soon(here().put(of(second))),
      await soon(here().delete(of(first))),
      await soon(
        here().put(`${path}/favorites/${encodeURIComponent(second)}`, { headers: { "idempotency-key": "own" } }),
      ),
      await soon(here().post(`${path}/views`, { json: { by: 4 }, headers: { "idempotency-key": "own-4" } })),
      await soon(here().post(`${path}/views`, { json: { by: 4 }, headers: { "idempotency-key": "own-4" } })),
    ].map(({ status }) => status);
    expect(statuses).toEqual([202, 202, 202, 202, 202]);
    const shown = async () => {
      const counts = { likes: 1, favorites: 1, views: 7 };
      const query = { subjects: [subject], actor: second, known: true };
      const time = expect.stringMatching(TIME);
      expect((await soon(here().get(`${path}?actor=${encodeURIComponent(second)}`))).json).toMatchObject({
        counts,
        mine: ["likes", "favorites"],
      });
      expect((await soon(here().get(of(first)))).json).toEqual({ active: false, count: 1, at: null });
      expect((await soon(here().get(of(second)))).json).toEqual({ active: true, count: 1, at: time });
      expect((await soon(here().get(`${path}/likes?limit=5`))).json.actors).toEqual([{ actor: second, at: time }]);
      const actor = (await soon(here().get(`/v1/actors/${encodeURIComponent(second)}`))).json;
      expect(actor.counts).toMatchObject({ likes: 1, favorites: 1 });
      const list = (await soon(here().get(`/v1/actors/${encodeURIComponent(second)}/likes?limit=5`))).json;
      expect(list.subjects).toEqual([{ subject, at: time }]);
      const [item] = (await soon(here().post("/v1/query", { json: query }))).json.items;
      expect(item).toMatchObject({ counts, mine: ["likes", "favorites"] });
    };
    await shown();
    const fresh = freshSubject().path;
    for (let views = 1; views <= 3; views++) {
      expect((await soon(here().post(`${fresh}/views`))).status).toBe(202);
      expect((await soon(here().get(fresh))).json.counts.views).toBe(views);
    }
    expect(await nodes().stored(subject, "likes")).toBe(1);
    await untilDegraded(here(), "redis", "kafka");
    await nodes().server(0).kill();
    await nodes().startNode(0);
    await shown();

    await heal();
    await untilReady(here());
    await untilEqual(nodes(), subject, { likes: 1, favorites: 1, views: 7 });
    await shown();
  }, 120_000);

  test("does not count once more what the ledger has by now", async () => {
    const { path, subject } = freshSubject();
    await cut("redis");
    let likes = 0;
    let views = 0;
    const until = performance.now() + 4_000;
    while (performance.now() < until) {
      const like = here().put(`${path}/likes/${likes++}`);
      const view = here().post(`${path}/views`, { headers: { "idempotency-key": `view ${subject} ${views++}` } });
      expect((await Promise.all([like, view])).map(({ status }) => status)).toEqual([202, 202]);
      const { counts } = (await here().get(path)).json;
      expect([counts.likes, counts.views]).toEqual([likes, views]);
    }
    await heal();
    await untilReady(here());
    await untilEqual(nodes(), subject, { likes, views });
  }, 120_000);

  test.each([
    ["Redis", ["redis"]],
    ["Redis and Kafka", ["redis", "kafka"]],
  ] as const)(
    "without %s a key that is used again does not undo what came since",
    async (_, stores) => {
      const { path, subject } = freshSubject();
      const once = { headers: { "idempotency-key": `since ${subject}` } };
      const inactive = { active: false, count: 0 };
      await cut(...stores);
      for (let turn = 0; turn < 2; turn++) {
        expect((await soon(here().put(`${path}/likes/7`, once))).status).toBe(202);
        if (turn === 0) expect((await soon(here().delete(`${path}/likes/7`))).status).toBe(202);
        expect((await soon(here().get(`${path}/likes/7`))).json).toMatchObject(inactive);
      }
      const headers = { "idempotency-key": `views ${subject}`, "content-type": "text/plain" };
      const views = { headers, body: `views ${subject} 10` };
      for (let turn = 0; turn < 3; turn++) {
        expect((await soon(here().post("/v1/events", views))).status).toBe(202);
        expect((await soon(here().get(path))).json.counts).toMatchObject({ likes: 0, views: 10 });
      }
      await heal();
      await untilReady(here());
      await untilEqual(nodes(), subject, { likes: 0, views: 10 });
      expect((await here().get(`${path}/likes/7`)).json).toMatchObject(inactive);
    },
    120_000,
  );

  test("bodies of relations take no longer though Kafka is away", async () => {
    const { subject, path } = freshSubject();
    await here().put(`${path}/likes/7`);
    await cut("redis", "kafka");
    await untilDegraded(here(), "redis", "kafka");
    const lines = Array.from({ length: 10 }, (_, i) => ({ metric: "likes", subject, actor: `line ${i % 3}` }));
    const body = lines.map((line) => JSON.stringify(line)).join("\n");
    for (const key of [{}, { "idempotency-key": `lines ${subject}` }] as Record<string, string>[]) {
      const headers = { ...key, "content-type": "application/x-ndjson" };
      const reply = await soon(here().post("/v1/events", { headers, body }));
      expect([reply.status, reply.json]).toEqual([202, { accepted: 10, rejected: 0, errors: [] }]);
    }
    await heal();
    await untilReady(here());
    await untilEqual(nodes(), subject, { likes: 4 });
  }, 120_000);

  test("what it has shown is there soon after Redis is back, though Kafka is not", async () => {
    const { path } = freshSubject();
    await cut("redis", "kafka");
    await soon(here().put(`${path}/likes/7`));
    await soon(here().post(`${path}/views`, { json: { by: 5 }, headers: { "idempotency-key": `back ${path}` } }));
    // So long somebody may be putting them himself.
    await Bun.sleep(LAG_MS_MAX + 2 * LOOK_MS_MAX);
    await nodes().ways(0).redis.heal();
    await eventually(async () => {
      expect((await here().get("/readyz")).json.parts).toMatchObject({
        redis: { status: "up" },
        kafka: { status: "down" },
      });
    });
    await Bun.sleep(1_500);
    for (const until = performance.now() + 2_000; performance.now() < until; ) {
      // Of any thread, by connections of their own.
      const { counts } = (await (await fetch(new URL(path, here().url), { keepalive: false })).json()) as {
        counts: object;
      };
      expect(counts).toMatchObject({ likes: 1, views: 5 });
      await Bun.sleep(20);
    }
  }, 120_000);

  test("what met a moment without Redis is there soon, though Kafka stays away, and acts are 200 again", async () => {
    const { path } = freshSubject();
    await here().put(`${path}/likes/6`);
    await cut("kafka");
    await untilDegraded(here(), "kafka");
    const { redis } = nodes().ways(0);
    await redis.cut();
    expect((await soon(here().put(`${path}/likes/7`))).status).toBe(202);
    await redis.heal();
    // What came before it may be missing: what it changes is not said.
    expect((await soon(here().put(`${path}/likes/8`))).status).toBe(202);
    expect((await here().get(`${path}?actor=8`)).json.mine).toEqual(["likes"]);
    for (const node of [0, 1]) {
      await eventually(async () => expect((await nodes().api(node).get(path)).json.counts.likes).toBe(3));
    }
    // Those who go on trying meanwhile do not put it off.
    await eventually(async () => expect((await here().put(`${path}/likes/9`)).status).toBe(200));
    expect((await nodes().api(1).put(`${path}/likes/10`)).json).toMatchObject({ changed: true, count: 5 });
    expect((await here().get("/readyz")).json.parts.kafka.status).toBe("down");
  }, 120_000);
});
