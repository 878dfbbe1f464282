import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Api, freshSubject, useServer } from "../support/contract.ts";
import { eventually } from "../support/eventually.ts";
import { inFolder, runTally, TestServer } from "../support/server.ts";
import { sharedServices } from "../support/services.ts";

/** How late the other node may be: its own knowledge is a flush old, the flush, and a machine that does much else. */
const SHOWN_MS_MAX = 5_000;

describe("two nodes", () => {
  let stores: string[] = [];
  const open = async () => {
    const services = await sharedServices();
    stores = services.flags;
    return services;
  };
  const api = useServer({ name: "two nodes", nodes: 2, open });
  const both = (): [Api, Api] => [api.node(0).alone(), api.node(1).alone()];

  /** What others have not flushed yet counts on top of a set: so it is waited for. */
  async function shownOnBoth(path: string, count: number): Promise<void> {
    for (const node of both().toReversed()) {
      await eventually(async () => expect((await node.get(path)).json.count).toBe(count), SHOWN_MS_MAX);
    }
  }

  /** The first node's table has a reading from this moment: for a flush it asks nobody. */
  async function readOnFirst(path: string, count: number): Promise<void> {
    await shownOnBoth(path, count - 1);
    const headers = { "idempotency-key": crypto.randomUUID() };
    expect((await both()[0].post(path, { headers })).json).toEqual({ count });
  }

  test("a tally counted on one shows on the other after a flush", async () => {
    const [here, there] = both();
    const path = `${freshSubject().path}/views`;
    for (let count = 1; count <= 3; count++) expect((await here.post(path)).json).toEqual({ count });
    await eventually(async () => expect((await there.get(path)).json.count).toBe(3), SHOWN_MS_MAX);
    expect((await there.post(path)).json).toEqual({ count: 4 });
    await eventually(async () => expect((await here.get(path)).json.count).toBe(4), SHOWN_MS_MAX);
  });

  test("tallies counted on both at once add up, and neither shows less than before", async () => {
    const [here, there] = both();
    const path = `${freshSubject().path}/views`;
    const shown = [0, 0];
    const adding = [here, there].map(async (node, i) => {
      for (let added = 1; added <= 200; added++) {
        const { count } = (await node.post(path)).json;
        expect(count).toBeGreaterThan(shown[i] as number);
        expect(count).toBeGreaterThanOrEqual(added);
        shown[i] = count;
      }
    });
    await Promise.all(adding);
    for (const [i, node] of [here, there].entries()) {
      await eventually(async () => {
        const { count } = (await node.get(path)).json;
        expect(count).toBeGreaterThanOrEqual(shown[i] as number);
        shown[i] = count;
        expect(count).toBe(400);
      }, SHOWN_MS_MAX);
    }
  });

  test("acts with a key, tried again on the other meanwhile, leave nothing on its way", async () => {
    const nodes = both();
    const { path } = freshSubject();
    const headers = { "idempotency-key": "once" };
    const acts = ["likes/7", "likes/8", "follows/7"].flatMap((end) =>
      nodes.flatMap((node) => [node.put(`${path}/${end}`, { headers }), node.post(`${path}/shares`, { headers })]),
    );
    for (const { status } of await Promise.all(acts)) expect(status).toBe(200);
    for (const node of nodes) expect((await node.delete(`${path}/likes/8`, { headers })).status).toBe(200);
    await eventually(async () => {
      const { status, stdout } = await runTally(["verify", ...stores]);
      expect([status, stdout]).toEqual([0, expect.stringMatching(/^0 differences; /)]);
    });
  }, 60_000);

  test("a relation shows on the other at once, in every list and count", async () => {
    const [here, there] = both();
    for (let i = 0; i < 20; i++) {
      const { path, subject } = freshSubject();
      const actor = `across-${i}`;
      const { at, ...put } = (await here.put(`${path}/likes/${actor}`)).json;
      expect(put).toEqual({ active: true, changed: true, count: 1 });
      const [state, whole, actors, counts, subjects, repeat] = await Promise.all([
        there.get(`${path}/likes/${actor}`),
        there.get(`${path}?actor=${actor}`),
        there.get(`${path}/likes?limit=5`),
        there.get(`/v1/actors/${actor}`),
        there.get(`/v1/actors/${actor}/likes`),
        there.put(`${path}/likes/${actor}`),
      ]);
      expect(state.json).toEqual({ active: true, count: 1, at });
      expect(whole.json).toMatchObject({ counts: { likes: 1 }, mine: ["likes"] });
      expect(actors.json).toMatchObject({ count: 1, actors: [{ actor, at }] });
      expect(counts.json.counts).toMatchObject({ likes: 1 });
      expect(subjects.json).toEqual({ count: 1, subjects: [{ subject, at }], next: null });
      expect(repeat.json).toEqual({ active: true, changed: false, count: 1, at });

      expect((await there.delete(`${path}/likes/${actor}`)).json).toMatchObject({ changed: true, count: 0 });
      expect((await here.get(`${path}/likes/${actor}`)).json).toEqual({ active: false, count: 0, at: null });
      expect((await here.get(`${path}/likes?limit=5`)).json).toMatchObject({ count: 0, actors: [] });
      expect((await here.get(`/v1/actors/${actor}/likes`)).json).toMatchObject({ count: 0, subjects: [] });
    }
  });

  test("of likes that race on both, one is told that it changed", async () => {
    for (let round = 0; round < 10; round++) {
      const path = `${freshSubject().path}/likes/7`;
      const replies = await Promise.all(Array.from({ length: 20 }, () => api.put(path)));
      expect(replies.map(({ status }) => status)).toEqual(replies.map(() => 200));
      expect(replies.filter(({ json }) => json.changed)).toHaveLength(1);
      expect(new Set(replies.map(({ json }) => json.count))).toEqual(new Set([1]));
      const { at } = (await api.get(path)).json;
      expect(replies.map(({ json }) => json.at)).toContain(at);
    }
  });

  test("an Idempotency-Key counts once on both", async () => {
    const [here, there] = both();
    const path = `${freshSubject().path}/views`;
    const sending = { headers: { "idempotency-key": "k" }, json: { by: 3 } };
    const replies = await Promise.all([here, there, here, there].map((node) => node.post(path, sending)));
    expect(replies.map(({ json }) => json)).toEqual(replies.map(() => ({ count: 3 })));
    expect((await there.post(path, { ...sending, json: { by: 4 } })).status).toBe(422);
  });

  test("what an admin did under a key on one, a repeat on the other shows, and so does what it shows from then on", async () => {
    const [here, there] = both();
    const [from, to] = [freshSubject(), freshSubject()];
    const path = `${to.path}/views`;
    const headers = { "idempotency-key": "k" };
    for (let i = 0; i < 4; i++) await here.post(path);
    await readOnFirst(path, 5);
    const set = { headers, json: { count: 100 } };
    for (const node of [there, here]) expect((await node.put(path, set)).json).toEqual({ count: 100 });
    expect((await here.get(path)).json.count).toBe(100);
    expect((await here.post(path)).json).toEqual({ count: 101 });

    for (let i = 0; i < 6; i++) await here.post(`${from.path}/views`);
    await readOnFirst(`${from.path}/views`, 7);
    await readOnFirst(path, 102);
    const merge = { headers, json: { from: from.subject, to: to.subject } };
    for (const node of [there, here]) expect((await node.post("/v1/merge", merge)).json.counts.views).toBe(109);
    expect((await here.get(path)).json.count).toBe(109);
    expect((await here.get(`${from.path}/views`)).json.count).toBe(0);
  });

  test("a tally counted under a key on one, a repeat on the other shows at once", async () => {
    const [here, there] = both();
    const path = `${freshSubject().path}/views`;
    const sending = { headers: { "idempotency-key": "k" }, json: { by: 3 } };
    for (let i = 0; i < 4; i++) await here.post(path);
    await readOnFirst(path, 5);
    for (const node of [there, here]) expect((await node.post(path, sending)).json).toEqual({ count: 8 });
    await there.put(path, { json: { count: 2 } });
    expect((await here.post(path, sending)).json).toEqual({ count: 2 });
    expect((await here.get(path)).json.count).toBe(2);
  });

  test("/readyz names the stores", async () => {
    for (const node of both()) {
      await eventually(async () => {
        const { status, parts } = (await node.get("/readyz")).json;
        expect(status).toBe("ready");
        expect(parts).toMatchObject({ redis: { status: "up" }, kafka: { status: "up" }, mysql: { status: "up" } });
      });
    }
  });

  // Last: who joins the projectors and leaves them stops all of them for a while, and an admin's act is 202 then.
  test("tally consume has health and metrics only, on a port of its own", async () => {
    await inFolder(async (data) => {
      const consumer = await TestServer.start({ command: "consume", data, args: stores });
      const status = async (method: string, path: string) =>
        (await fetch(new URL(path, consumer.url), { method, body: method === "POST" ? "views a/1" : null })).status;
      for (const path of ["/healthz", "/readyz", "/metrics"]) expect(await status("GET", path)).toBe(200);
      for (const path of ["/v1/events", "/v1/subjects/a/1/views", "/v1/query", "/v1/nothing"])
        expect(await status("POST", path)).toBe(503);
      expect(await status("PUT", "/v1/subjects/a/1/likes/7")).toBe(503);
      expect(await status("GET", "/v1/subjects/a/1")).toBe(503);
      expect(await status("GET", "/")).toBe(404);
      const second = await runTally(["consume", ...stores, "--port", new URL(consumer.url).port]);
      expect([second.status, second.stderr]).toEqual([78, expect.stringContaining("is taken")]);
      expect(await consumer.stop()).toEqual({ status: 0, signal: null });
    });
  }, 60_000);

  test("tally consume reads tally.yaml again on SIGHUP", async () => {
    await inFolder(async (data) => {
      const config = join(data, "tally.yaml");
      writeFileSync(config, "");
      const args = [...stores, "--config", config];
      const consumer = await TestServer.start({ command: "consume", data, args });
      const said = (msg: string) => consumer.lines.filter((line) => line.msg === msg);
      const hangUp = (text: string) => {
        writeFileSync(config, text);
        consumer.signal("SIGHUP");
      };
      hangUp("logLevel: debug\nhistoryDays: 7\ncorsOrigins: https://a.b\n");
      await eventually(async () => expect(said("these settings need a restart")).toHaveLength(1));
      expect(said("these settings need a restart")[0]).toMatchObject({ settings: ["historyDays"] });
      expect(said("settings read again")[0]).toMatchObject({ changed: ["corsOrigins", "logLevel"] });
      const ready = await fetch(new URL("/readyz", consumer.url), { headers: { origin: "https://a.b" } });
      expect(ready.headers.get("access-control-allow-origin")).toBe("https://a.b");
      hangUp("logLevel: loud\n");
      await eventually(async () => expect(said("the new settings are wrong, the old ones stay")).toHaveLength(1));
      expect(await consumer.stop()).toEqual({ status: 0, signal: null });
    });
  }, 60_000);
});
