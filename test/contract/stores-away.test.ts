import { afterEach, describe, expect, test } from "bun:test";
import { type Api, expectProblem, freshSubject, useOpened } from "../support/contract.ts";
import { eventually } from "../support/eventually.ts";
import {
  untilEqual as allEqual,
  STORES,
  type StoreName,
  soon,
  TIME,
  untilAsked,
  untilDegraded,
  untilReady,
} from "../support/stores-away.ts";
import { TwoNodes } from "../support/two-nodes.ts";

/** Where the node has said that a store is silent no answer waits for it long: of MySQL no thread waits then, of Redis one for half a second at most. */
const KNOWN_MS_MAX = 900;
const nodes = useOpened(() => TwoNodes.start());
/** The node that stores are taken from, and the other one. */
const here = () => nodes().api(0);
const there = () => nodes().api(1);

const cut = (...names: StoreName[]) => Promise.all(names.map((name) => nodes().ways(0)[name].cut()));
const heal = (...names: StoreName[]) => Promise.all(names.map((name) => nodes().ways(0)[name].heal()));

const untilEqual = (subject: string, counts: Record<string, number>) => allEqual(nodes(), subject, counts);

afterEach(async () => {
  await heal(...STORES);
  await untilReady(here());
  await untilAsked(here());
}, 120_000);

describe("Redis is away", () => {
  test("writes go on and are 202, reads come from the ledger, and all of it shows once it is back", async () => {
    const { path, subject } = freshSubject();
    await here().put(`${path}/likes/7`);
    expect((await here().post(`${path}/views`)).json).toEqual({ count: 1 });
    await untilEqual(subject, { likes: 1, views: 1 });
    await cut("redis");

    const put = await soon(here().put(`${path}/likes/8`));
    expect([put.status, put.json]).toEqual([202, { active: true, at: expect.stringMatching(TIME) }]);
    const gone = await soon(here().delete(`${path}/likes/7`));
    expect([gone.status, gone.json]).toEqual([202, { active: false, at: expect.stringMatching(TIME) }]);
    // What it has known for less than a flush is still told; of this one it knows nothing.
    const shared = await soon(here().post(`${path}/shares`));
    expect([shared.status, shared.json]).toEqual([202, {}]);
    expect([200, 202]).toContain((await soon(here().post(`${path}/views`))).status);
    const once = await soon(here().post(`${path}/views`, { headers: { "idempotency-key": "k" } }));
    expect([once.status, once.json]).toEqual([202, {}]);
    await untilDegraded(here(), "redis");

    const body = `views ${freshSubject().subject}`;
    const events = { accepted: 1, rejected: 0, errors: [] };
    await eventually(async () => {
      const reply = await soon(here().post("/v1/events", { body, headers: { "content-type": "text/plain" } }));
      expect([reply.status, reply.json]).toEqual([202, events]);
    });
    await eventually(async () => {
      const keyed = await soon(here().put(`${path}/favorites/7`, { headers: { "idempotency-key": "k" } }));
      // Once the ledger knows the key it is a repeat, and nobody can say when the first one was.
      expect([keyed.status, keyed.json]).toEqual([202, { active: true }]);
    });

    const { at } = put.json;
    await eventually(async () => {
      expect((await soon(here().get(`${path}/likes/8`))).json).toEqual({ active: true, count: 1, at });
      expect((await soon(here().get(`${path}/likes?limit=5`))).json.actors).toEqual([{ actor: "8", at }]);
      expect((await soon(here().get(`${path}?actor=8`))).json).toMatchObject({ counts: { views: 3 }, mine: ["likes"] });
      expect((await there().get(`${path}/likes/8`)).json).toEqual({ active: true, count: 1, at });
    });

    await heal("redis");
    await untilReady(here());
    // A thread that is not back yet would log the repeat below as another act.
    await untilAsked(here());
    await untilEqual(subject, { likes: 1, views: 3, shares: 1 });
    await eventually(async () => {
      const again = await here().put(`${path}/likes/8`);
      expect([again.status, again.json]).toEqual([200, { active: true, changed: false, count: 1, at }]);
    });
    const repeat = await here().post(`${path}/views`, { headers: { "idempotency-key": "k" } });
    expect([repeat.status, repeat.json]).toEqual([200, { count: 3 }]);
    expect((await here().post(`${path}/views`)).json).toEqual({ count: 4 });
  }, 120_000);
});

test.each(STORES)(
  "%s is away: a body with a key that is sent again counts once",
  async (store) => {
    const { path, subject } = freshSubject();
    const headers = { "content-type": "text/plain", "idempotency-key": `away-${store}` };
    const send = (api: Api, body: string) => api.post("/v1/events", { headers, body });
    const first = `views ${subject}\n`.repeat(5_000);
    const body = `${first}shares ${subject}\n`.repeat(2);
    expect((await send(there(), body)).status).toBe(200);
    const another = { ...headers, "idempotency-key": `away-${store}-2` };
    await cut(store);
    for (let i = 0; i < 2; i++) {
      for (const sent of [headers, another]) {
        const reply = await here().post("/v1/events", { headers: sent, body });
        expect([200, 202]).toContain(reply.status);
        expect(reply.json.accepted).toBe(10_002);
      }
    }
    await heal(store);
    await untilReady(here());
    await untilAsked(here());
    expect((await here().post("/v1/events", { headers: another, body })).json.accepted).toBe(10_002);
    await untilEqual(subject, { views: 20_000, shares: 4 });
    await eventually(async () => {
      for (const api of [here(), there()]) expectProblem(await send(api, `${body}views ${subject}`), 422, "key-reused");
    });
    expect((await there().get(`${path}/views`)).json.count).toBe(20_000);
  },
  120_000,
);

describe("Kafka is away", () => {
  test("writes go on, show everywhere, survive SIGKILL, and reach MySQL once it is back", async () => {
    const { path, subject } = freshSubject();
    await here().put(`${path}/likes/6`);
    await untilEqual(subject, { likes: 1 });
    await cut("kafka");
    const put = await soon(here().put(`${path}/likes/7`));
    expect(put.json).toMatchObject({ active: true, changed: true, count: 2 });
    expect((await there().get(`${path}/likes/7`)).json).toMatchObject({ active: true, count: 2 });
    expect((await soon(here().put(`${path}/likes/8`))).json).toMatchObject({ changed: true, count: 3 });
    expect((await soon(here().delete(`${path}/likes/7`))).json).toMatchObject({ changed: true, count: 2 });
    expect((await soon(here().post(`${path}/views`))).json).toEqual({ count: 1 });
    await eventually(async () => expect((await there().get(`${path}/views`)).json.count).toBe(1));
    expect(await nodes().stored(subject, "likes")).toBe(1);
    await untilDegraded(here(), "kafka");

    await nodes().server(0).kill();
    await nodes().startNode(0);
    await untilDegraded(here(), "kafka");
    expect((await soon(here().get(path))).json.counts).toMatchObject({ likes: 2, views: 1 });
    expect((await soon(here().post(`${path}/views`))).json).toEqual({ count: 2 });

    await heal("kafka");
    await untilReady(here());
    await untilEqual(subject, { likes: 2, views: 2 });
  }, 120_000);
});

describe("MySQL is away", () => {
  test("writes go on, and so does every read of what is at hand", async () => {
    const { path, subject } = freshSubject();
    await here().put(`${path}/likes/7`);
    await here().post(`${path}/views`);
    await untilEqual(subject, { likes: 1, views: 1 });
    await here().get(path);
    await cut("mysql");

    // That 8 has not liked it before is known without MySQL, that 7 has is not.
    expect((await soon(here().get(`${path}/likes/8`))).json).toEqual({ active: false, count: 1, at: null });
    const put = await soon(here().put(`${path}/likes/8`));
    const liked = { active: true, changed: true, count: 2, at: expect.stringMatching(TIME) };
    expect([put.status, put.json]).toEqual([200, liked]);
    const again = await soon(here().put(`${path}/likes/7`));
    expect([again.status, again.json]).toEqual([202, { active: true, at: expect.stringMatching(TIME) }]);
    expect((await soon(here().post(`${path}/views`))).json).toEqual({ count: 2 });
    expect((await soon(here().get(`${path}/views`))).json.count).toBe(2);
    await untilDegraded(here(), "mysql");
    expectProblem(await soon(here().get(`${freshSubject().path}/likes`)), 503, "unavailable");
    expect((await soon(here().post(`${freshSubject().path}/views`))).status).toBe(202);

    await heal("mysql");
    await untilReady(here());
    await untilEqual(subject, { likes: 2, views: 2 });
  }, 120_000);
});

test.each(["mysql", "redis", "kafka"] as const)(
  "once %s is known to be silent no answer takes a second",
  async (store) => {
    const { path, subject } = freshSubject();
    await here().put(`${path}/likes/7`);
    await nodes().ways(0)[store].hang();
    // Nobody acts meanwhile.
    await untilDegraded(here(), store);
    expect([200, 202]).toContain((await here().put(`${path}/likes/6`)).status);
    const asks = [
      () => here().post(`${path}/views`, { headers: { "idempotency-key": "silent" } }),
      () => here().put(`${path}/likes/8`, { headers: { "idempotency-key": "silent" } }),
      () => here().post("/v1/query", { json: { subjects: [subject], actor: "7", known: true } }),
      () => here().get(`${freshSubject().path}/likes?limit=5`),
    ];
    for (const ask of asks) {
      // At once: connections of their own, which the kernel gives to different threads.
      const startedAt = performance.now();
      await Promise.all(Array.from({ length: 16 }, ask));
      expect(performance.now() - startedAt).toBeLessThan(KNOWN_MS_MAX);
    }
  },
  60_000,
);

describe("every store is away", () => {
  test("writes are 202, what cannot be known is 503, and nothing is lost or twice there", async () => {
    const { path, subject } = freshSubject();
    await here().put(`${path}/likes/7`);
    await untilEqual(subject, { likes: 1 });
    await cut(...STORES);
    for (const actor of ["7", "8", "9"]) {
      expect((await soon(here().put(`${path}/likes/${actor}`))).status).toBe(202);
      expect((await soon(here().post(`${path}/views`, { json: { by: 5 } }))).status).toBe(202);
    }
    expect((await soon(here().delete(`${path}/likes/8`))).status).toBe(202);
    await untilDegraded(here(), ...STORES);
    expectProblem(await soon(here().get(`${path}/likes/7`)), 503, "unavailable");

    await heal(...STORES);
    await untilReady(here());
    await untilEqual(subject, { likes: 2, views: 15 });
    await untilAsked(here());
    expect(
      (await here().get(`${path}/likes?limit=5`)).json.actors.map(({ actor }: { actor: string }) => actor),
    ).toEqual(["9", "7"]);
  }, 120_000);
});

describe("an Idempotency-Key that came with another body", () => {
  test.each(STORES)(
    "while %s is away: 422 on every thread, also after SIGKILL; with the same body it counts once",
    async (store) => {
      const { path, subject } = freshSubject();
      // A connection of its own may meet any thread.
      const send = async (method: string, end: string, key: string, body?: unknown): Promise<number> => {
        const headers = { "idempotency-key": key, "content-type": "application/json" };
        const init = { method, headers, body: body === undefined ? null : JSON.stringify(body), keepalive: false };
        return (await fetch(new URL(`${path}/${end}`, here().url), init)).status;
      };
      const many = async (statuses: number[], act: () => Promise<number>) => {
        for (let i = 0; i < 8; i++) expect(statuses).toContain(await act());
      };
      // What was not settled in Redis when Kafka went is 202, too.
      const taken = [200, 202];
      const refused = [422];
      await cut(store);
      await untilDegraded(here(), store);
      expect(taken).toContain(await send("POST", "views", "k", { by: 5 }));
      await many(refused, () => send("POST", "views", "k", { by: 6 }));
      expect(taken).toContain(await send("PUT", "likes/7", "k"));
      await many(refused, () => send("PUT", "likes/7", "k", { at: "2026-01-01T00:00:00Z" }));

      const bodies = Array.from({ length: 16 }, (_, i) => ({ by: 100 + i }));
      const raced = await Promise.all(bodies.map((body) => send("POST", "views", "raced", body)));
      const [{ by } = { by: 0 }, ...others] = bodies.filter((_, i) => taken.includes(raced[i] as number));
      expect([others, raced.filter((status) => status === 422).length]).toEqual([[], bodies.length - 1]);

      await nodes().server(0).kill();
      await nodes().startNode(0);
      await untilDegraded(here(), store);
      await many(refused, () => send("POST", "views", "k", { by: 6 }));
      await many(taken, () => send("POST", "views", "k", { by: 5 }));
      await heal(store);
      await untilReady(here());
      await untilEqual(subject, { views: 5 + by, likes: 1 });
    },
    120_000,
  );
});

describe("a server started with a store away", () => {
  test.each(STORES)(
    "%s: is degraded, takes writes, and is ready once it is back",
    async (store) => {
      const { path, subject } = freshSubject();
      await nodes().server(0).stop();
      await cut(store);
      await nodes().startNode(0);
      await untilDegraded(here(), store);
      expect([200, 202]).toContain((await soon(here().put(`${path}/likes/7`))).status);
      expect([200, 202]).toContain((await soon(here().post(`${path}/views`))).status);
      await heal(store);
      await untilReady(here());
      await untilEqual(subject, { likes: 1, views: 1 });
    },
    120_000,
  );

  test("a new one that has never seen Redis too", async () => {
    await nodes().server(0).stop();
    await cut("redis");
    await nodes().startNode(0, "new");
    await untilDegraded(here(), "redis");
    await heal("redis");
    await untilReady(here());
  }, 120_000);
});
