import { afterEach, describe, expect, test } from "bun:test";
import { freshSubject, useOpened } from "../support/contract.ts";
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
});
