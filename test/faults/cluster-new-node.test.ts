import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { ensureTopics, partitionsOf } from "../../src/cluster/kafka/topics.ts";
import { settingsFor } from "../cluster/kafka-support.ts";
import { freshSubject } from "../support/contract.ts";
import { eventually } from "../support/eventually.ts";
import {
  apiOf,
  messagesIn,
  NewClusters,
  STORES,
  type Store,
  untilCounted,
  untilReady,
} from "../support/new-cluster.ts";
import { inFolder, type TestServer } from "../support/server.ts";

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const TEST_MS_MAX = 180_000;

let clusters: NewClusters;
beforeAll(async () => {
  clusters = await NewClusters.start();
}, 120_000);
afterEach(() => clusters.heal(), 60_000);
afterAll(() => clusters[Symbol.asyncDispose]());

const AWAY = {
  killed: {
    begin: (store: Store) => clusters.stores[store].kill(),
    end: (store: Store) => clusters.stores[store].start(),
  },
  paused: {
    begin: (store: Store) => clusters.stores[store].pause(),
    end: (store: Store) => clusters.stores[store].resume(),
  },
};
type How = keyof typeof AWAY;
const CASES = STORES.flatMap((store) => (["killed", "paused"] as const).map((how): [Store, How] => [store, how]));

/** Where it listens while it waits. */
function waitingAt(server: TestServer): Promise<string> {
  return eventually(async () => {
    const line = server.lines.find(({ msg }) => String(msg).startsWith("the start waits"));
    if (!line) throw new Error(`it does not listen: ${JSON.stringify(server.lines.at(-1))} ${server.stderr}`);
    return String(line.url);
  });
}

function expectDown(body: { status?: unknown; parts?: unknown }, status: string, store: Store): void {
  const parts = { [store]: { status: "down", since: expect.stringMatching(TIME), detail: expect.any(String) } };
  expect(body).toMatchObject({ status, parts });
}

describe("a node with a new data directory, in a cluster that has one", () => {
  test.each(CASES)(
    "%s is %s: it is degraded, counts, and all is exact afterwards",
    async (store, how) => {
      await using cluster = await clusters.make();
      const first = await cluster.start("first");
      const { path, subject } = freshSubject();
      await eventually(async () => expect((await apiOf(first).put(`${path}/likes/1`)).status).toBe(200));
      await apiOf(first).post(`${path}/views`, { json: { by: 5 } });
      await untilReady(first);
      await untilCounted([first], subject, { likes: 1, views: 5 });

      await AWAY[how].begin(store);
      const second = await cluster.start("second");
      expectDown(await second.json("/readyz"), "degraded", store);
      const api = apiOf(second);
      for (let i = 0; i < 5; i++) {
        const liked = await api.put(`${path}/likes/2${i}`);
        expect([200, 202]).toContain(liked.status);
        // Redis knows whether somebody has liked it before; without it nobody does.
        if (store === "redis") expect(liked.status).toBe(202);
        const viewed = await api.post(`${path}/views`);
        expect([200, 202]).toContain(viewed.status);
      }
      expect([200, 202]).toContain((await api.delete(`${path}/likes/20`)).status);
      expectDown(await second.json("/readyz"), "degraded", store);

      await AWAY[how].end(store);
      await untilReady(first, second);
      await untilCounted([first, second], subject, { likes: 5, views: 10 });
      // What had a number before keeps it.
      expect((await apiOf(first).get(`${path}/likes/1`)).json).toMatchObject({ active: true, count: 5 });
      await eventually(async () => expect(await cluster.verify()).toMatchObject({ status: 0 }));
      for (const each of [first, second]) expect(await each.stop()).toEqual({ status: 0, signal: null });
    },
    TEST_MS_MAX,
  );

  test(
    "Redis was emptied while MySQL is away: it gets back what nodes agreed on",
    async () => {
      await using cluster = await clusters.make();
      const first = await cluster.start("first");
      await untilReady(first);
      const { path, subject } = freshSubject();
      await AWAY.killed.begin("mysql");
      await clusters.stores.redis.ask("FLUSHALL");
      expect((await apiOf(first).put(`${path}/likes/1`)).status).toBe(202);
      await eventually(async () => {
        expect(await clusters.stores.redis.ask("EXISTS", `${cluster.prefix}:{agreed}`)).toBe(1);
      });
      const second = await cluster.start("second");
      expectDown(await second.json("/readyz"), "degraded", "mysql");
      expect((await apiOf(second).put(`${path}/likes/2`)).status).toBe(202);
      expect((await apiOf(second).post(`${path}/views`)).status).toBe(202);
      await AWAY.killed.end("mysql");
      await untilReady(first, second);
      await untilCounted([first, second], subject, { likes: 2, views: 1 });
      await eventually(async () => expect(await cluster.verify()).toMatchObject({ status: 0 }));
    },
    TEST_MS_MAX,
  );

  test(
    "its settings name a metric that nobody has numbered, and MySQL is away: it waits",
    async () => {
      await using cluster = await clusters.make();
      await untilReady(await cluster.start("first"));
      await AWAY.killed.begin("mysql");
      const second = cluster.spawn("second", {
        args: ["--metrics", "{views: {kind: tally}, stars: {kind: relation}}"],
      });
      expectDown(await jsonAt(await waitingAt(second), "/readyz", 503), "starting", "mysql");
      await AWAY.killed.end("mysql");
      await second.listening();
      await untilReady(second);
      expect((await second.json<{ counts: object }>("/v1/subjects/a/1")).counts).toEqual({ views: 0, stars: 0 });
    },
    TEST_MS_MAX,
  );
});

describe("a node that was started while MySQL was away, and MySQL then says something else", () => {
  test.each([
    ["numbers metrics otherwise", "UPDATE metrics SET id = 200 WHERE name = 'views'", /numbers views otherwise/],
    [
      "has a metric of another kind",
      "UPDATE metrics SET kind = 'relation' WHERE name = 'views'",
      /views is stored as a/,
    ],
  ])(
    "%s: the node ends, and says why",
    async (_, change, why) => {
      await using cluster = await clusters.make();
      const way = clusters.stores.ways[0]?.mysql;
      const before = await cluster.start("first", { isCuttable: true });
      await untilReady(before);
      expect(await before.stop()).toEqual({ status: 0, signal: null });
      await way?.cut();
      const node = await cluster.start("first", { isCuttable: true });
      expectDown(await node.json("/readyz"), "degraded", "mysql");
      await cluster.ask(change);
      await way?.heal();
      expect(await node.ended).toEqual({ status: 70, signal: null });
      expect(JSON.stringify(node.lines.filter(({ level }) => level === "error"))).toMatch(why);
    },
    TEST_MS_MAX,
  );
});

async function jsonAt(url: string, path: string, status: number) {
  const answer = await fetch(new URL(path, url));
  expect(answer.status).toBe(status);
  return (await answer.json()) as Record<string, unknown>;
}

describe("a cluster that nobody has used before", () => {
  test.each(["killed", "paused"] as const)(
    "MySQL is %s: it listens, says what it waits for, and goes on by itself on the same port",
    async (how) => {
      await using cluster = await clusters.make();
      await AWAY[how].begin("mysql");
      const node = cluster.spawn("first");
      const url = await waitingAt(node);
      expect(await jsonAt(url, "/healthz", 200)).toEqual({ status: "ok" });
      expectDown(await jsonAt(url, "/readyz", 503), "starting", "mysql");
      for (const [method, path] of [
        ["GET", "/v1/subjects/article/1"],
        ["POST", "/v1/subjects/article/1/views"],
        ["PUT", "/v1/subjects/article/1/likes/7"],
        ["POST", "/v1/events"],
        ["GET", "/metrics"],
        ["GET", "/nowhere"],
      ] as const) {
        const answer = await fetch(new URL(path, url), { method, headers: { "x-request-id": "mine" } });
        expect([path, answer.status, answer.headers.get("x-request-id")]).toEqual([path, 503, "mine"]);
        expect(Number(answer.headers.get("retry-after"))).toBeGreaterThan(0);
        expect(answer.headers.get("content-type")).toBe("application/problem+json");
        expect(await answer.json()).toMatchObject({
          type: "/problems/unavailable",
          detail: expect.stringContaining("MySQL"),
        });
      }
      const brought = await fetch(new URL("/v1/subjects/article/1", url), {
        headers: { "x-forwarded-for": "1.2.3.4" },
      });
      expect([brought.status, ((await brought.json()) as { type: string }).type]).toEqual([403, "/problems/protected"]);
      expect((await fetch(url)).headers.get("x-request-id")).toBeTruthy();

      await AWAY[how].end("mysql");
      await node.listening();
      expect(node.url).toBe(url);
      await untilReady(node);
      const { path, subject } = freshSubject();
      await eventually(async () => expect((await apiOf(node).put(`${path}/likes/1`)).status).toBe(200));
      await untilCounted([node], subject, { likes: 1 });
    },
    TEST_MS_MAX,
  );

  test(
    "a node that waits has its port, and ends at once when it is told to",
    async () => {
      await using cluster = await clusters.make();
      await AWAY.paused.begin("mysql");
      const node = cluster.spawn("first");
      const { port } = new URL(await waitingAt(node));
      const second = cluster.spawn("second", { args: ["--port", port] });
      expect(await second.ended).toEqual({ status: 78, signal: null });
      expect(second.stderr).toContain(`port ${port} of 127.0.0.1 is taken`);
      expect(await node.stop()).toEqual({ status: 0, signal: null });

      const third = cluster.spawn("third");
      await waitingAt(third);
      expect(await third.stop()).toEqual({ status: 0, signal: null });
      // It has not waited for what it had asked MySQL.
      const why = third.lines.filter(({ msg }) => msg === "MySQL is away").map(({ reason }) => reason);
      expect(why).toEqual(["has not answered yet"]);
    },
    TEST_MS_MAX,
  );

  test(
    "SIGHUP while it waits: its settings are read again once it has started",
    async () => {
      await inFolder(async (folder) => {
        const config = join(folder, "tally.yaml");
        writeFileSync(config, "metrics: {views: tally}\n");
        await using cluster = await clusters.make();
        await AWAY.killed.begin("mysql");
        const node = cluster.spawn("first", { args: ["--config", config] });
        await waitingAt(node);
        writeFileSync(config, "metrics: {views: tally, claps: tally}\n");
        node.signal("SIGHUP");
        await AWAY.killed.end("mysql");
        await node.listening();
        await eventually(async () => {
          expect(await node.json("/v1/subjects/a/1")).toMatchObject({ counts: { views: 0, claps: 0 } });
        });
        await node.stop();
      });
    },
    TEST_MS_MAX,
  );

  test(
    "Kafka is away: the first node decides how many partitions there are, for all of them",
    async () => {
      await using cluster = await clusters.make();
      await AWAY.killed.begin("kafka");
      const first = await cluster.start("first", { args: ["--kafka-partitions", "6"] });
      expectDown(await first.json("/readyz"), "degraded", "kafka");
      // MySQL knows of it, too.
      await clusters.stores.redis.ask("DEL", `${cluster.prefix}:{agreed}`);
      const second = await cluster.start("second", { args: ["--kafka-partitions", "3"] });
      const { path, subject } = freshSubject();
      for (const [i, node] of [first, second].entries()) {
        expect((await apiOf(node).put(`${path}/likes/${i}`)).status).toBe(202);
        expect([200, 202]).toContain((await apiOf(node).post(`${path}/views`)).status);
      }
      await AWAY.killed.end("kafka");
      await untilReady(first, second);
      await untilCounted([first, second], subject, { likes: 2, views: 2 });
      const settings = settingsFor(clusters.stores.kafka.brokers, cluster.prefix);
      expect(await partitionsOf(settings, `${cluster.prefix}.log`)).toBe(6);
      await eventually(async () => expect(await cluster.verify()).toMatchObject({ status: 0 }));
    },
    TEST_MS_MAX,
  );

  test(
    "a verify that finds no topic makes it as the nodes have agreed",
    async () => {
      await using cluster = await clusters.make();
      await AWAY.killed.begin("kafka");
      const node = await cluster.start("first", { args: ["--kafka-partitions", "6"] });
      expect(await node.stop()).toEqual({ status: 0, signal: null });
      await AWAY.killed.end("kafka");
      await eventually(async () => expect(await cluster.verify()).toMatchObject({ status: 0 }), 60_000);
      const settings = settingsFor(clusters.stores.kafka.brokers, cluster.prefix);
      expect(await partitionsOf(settings, `${cluster.prefix}.log`)).toBe(6);
    },
    TEST_MS_MAX,
  );

  test(
    "Kafka turns out to have a topic with another number: nothing is sent there, the node ends, and the next start goes on",
    async () => {
      await using cluster = await clusters.make();
      const way = clusters.stores.ways[0]?.kafka;
      await way?.cut();
      const node = await cluster.start("first", { isCuttable: true });
      const { path, subject } = freshSubject();
      for (let i = 0; i < 40; i++) expect((await apiOf(node).put(`${path}-${i}/likes/7`)).status).toBe(202);
      expect([200, 202]).toContain((await apiOf(node).post(`${path}/views`)).status);
      await ensureTopics({ ...settingsFor(clusters.stores.kafka.brokers, cluster.prefix), kafkaPartitions: 7 });
      await way?.heal();
      expect(await node.ended).toEqual({ status: 70, signal: null });
      const said = JSON.stringify(node.lines.filter(({ level }) => level === "error"));
      expect(said).toMatch(/has 7 partitions.*start it again/i);
      expect(await messagesIn(clusters.stores.kafka.brokers, `${cluster.prefix}.log`)).toBe(0);

      const again = await cluster.start("first", { isCuttable: true });
      await untilReady(again);
      await untilCounted([again], subject, { views: 1 });
      for (let i = 0; i < 40; i++) await untilCounted([again], `${subject}-${i}`, { likes: 1 });
      await eventually(async () => expect(await cluster.verify()).toMatchObject({ status: 0 }));
    },
    TEST_MS_MAX,
  );

  test(
    "Redis is away: it is degraded",
    async () => {
      await using cluster = await clusters.make();
      await AWAY.killed.begin("redis");
      const node = await cluster.start("first");
      expectDown(await node.json("/readyz"), "degraded", "redis");
      const { path, subject } = freshSubject();
      expect((await apiOf(node).put(`${path}/likes/1`)).status).toBe(202);
      await AWAY.killed.end("redis");
      await untilReady(node);
      await untilCounted([node], subject, { likes: 1 });
    },
    TEST_MS_MAX,
  );
});

describe("a database in which another prefix counts", () => {
  const warnings = ({ lines }: TestServer) => lines.filter(({ msg }) => String(msg).startsWith("other prefixes"));

  test(
    "whoever starts is told once, and which they are; a prefix that is alone is not",
    async () => {
      await using cluster = await clusters.make();
      const first = await cluster.start("first");
      await untilReady(first);
      const other = ["--prefix", `${cluster.prefix}.b`];
      const second = await cluster.start("second", { args: other });
      const consumer = await cluster.start("unused", { command: "consume", args: other });
      await untilReady(second, consumer);
      const told = { level: "warn", prefix: `${cluster.prefix}.b`, others: [cluster.prefix] };
      for (const server of [second, consumer]) expect(warnings(server)).toEqual([expect.objectContaining(told)]);
      expect(String(warnings(second)[0]?.msg)).toContain("each prefix needs a database of its own");
      expect(warnings(first)).toEqual([]);

      expect(await first.stop()).toEqual({ status: 0, signal: null });
      const again = await cluster.start("first");
      await untilReady(again);
      expect(warnings(again)).toEqual([expect.objectContaining({ others: [`${cluster.prefix}.b`] })]);
    },
    TEST_MS_MAX,
  );
});

describe("the projector alone", () => {
  test.each(["mysql", "kafka"] as const)(
    "%s is away: it listens, says so, and goes on by itself",
    async (store) => {
      await using cluster = await clusters.make();
      await AWAY.killed.begin(store);
      const consumer = cluster.spawn("unused", { command: "consume" });
      const url = await waitingAt(consumer);
      expect(await jsonAt(url, "/healthz", 200)).toEqual({ status: "ok" });
      await eventually(async () => expectDown(await jsonAt(url, "/readyz", 503), "starting", store));
      expect((await fetch(new URL("/metrics", url))).status).toBe(200);
      expect((await fetch(new URL("/v1/subjects/a/1", url))).status).toBe(503);
      await AWAY.killed.end(store);
      await consumer.listening();
      expect(consumer.url).toBe(url);
      await untilReady(consumer);
      expect(await consumer.stop()).toEqual({ status: 0, signal: null });
    },
    TEST_MS_MAX,
  );
});
