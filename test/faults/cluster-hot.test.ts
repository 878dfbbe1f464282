import { expect, test } from "bun:test";
import { EVENT_ACTS_UNDER_WAY_MAX, ON_THE_WAY_MAX } from "../../src/limits.ts";
import { ID_BYTES_MAX } from "../../src/model.ts";
import { ClusterWorld } from "../support/cluster-world.ts";
import { Connection } from "../support/connection.ts";
import { eventually } from "../support/eventually.ts";

const CLIENTS = 32;
const HOT = "/v1/subjects/article/hot";
const SHOWN_MS_MAX = 30_000;
/** Their acts, all under way at once, are 1.8 MB in the log: twice what Kafka takes in one message. */
const BODIES = 12;

test("one subject that everybody likes while no projector runs: counted exactly, and brought up without a pause", async () => {
  await using world = await ClusterWorld.start({ seed: 1, nodes: 1, consumers: 1 });
  const node = world.node(0);
  const statuses = new Map<number, number>();
  let next = 0;
  let isOver = false;
  const client = async () => {
    const connection = await Connection.open(node.url);
    while (!isOver) {
      const { status } = await connection.send("PUT", `${HOT}/likes/${next++}`);
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
    }
    connection.close();
  };
  const count = async () => (await node.json<{ counts: { likes: number } }>(HOT)).counts.likes;
  const list = async () => (await node.get(`${HOT}/likes?limit=5`)).status;
  const first = new URL(`${HOT}/likes/first`, node.url);
  await eventually(async () => expect((await fetch(first, { method: "PUT" })).status).toBe(200), SHOWN_MS_MAX);
  await world.settle();
  await world.stopConsumer(0);

  const clients = Array.from({ length: CLIENTS }, client);
  await eventually(async () => expect(await list()).toBe(200));
  await eventually(async () => expect(await count()).toBeGreaterThan(1.2 * ON_THE_WAY_MAX), 90_000);
  expect(await list()).toBe(503);
  await world.startConsumer(0);
  // Nothing is away, so nothing that was shown is taken back.
  const shown = [await count()];
  await eventually(async () => {
    shown.push(await count());
    expect(await list()).toBe(200);
  }, SHOWN_MS_MAX);
  expect(shown).toEqual(shown.toSorted((a, b) => a - b));
  isOver = true;
  await Promise.all(clients);

  const answered = [...statuses.values()].reduce((sum, n) => sum + n, 0);
  expect([answered, [...statuses.keys()].filter((status) => status !== 200 && status !== 202)]).toEqual([next, []]);
  expect(statuses.get(202) ?? 0).toBeLessThan(answered / 100);
  expect(await world.verify()).toEqual([]);
  expect(await count()).toBe(next + 1);
  console.log(`${next} likes, ${statuses.get(202) ?? 0} answered 202`);
}, 240_000);

test("what gathers while Kafka hangs goes into it afterwards, however much of it is of one subject", async () => {
  await using world = await ClusterWorld.start({ seed: 1, nodes: 1 });
  const node = world.node(0);
  const subject = `article/${"s".repeat(ID_BYTES_MAX)}`;
  const likes = `/v1/subjects/${subject}/likes`;
  const first = new URL(`${likes}/first`, node.url);
  await eventually(async () => expect((await fetch(first, { method: "PUT" })).status).toBe(200), SHOWN_MS_MAX);
  const lineOf = (actor: string) => JSON.stringify({ metric: "likes", subject, actor, active: true });
  const actors = Array.from({ length: BODIES * EVENT_ACTS_UNDER_WAY_MAX }, (_, i) => `${i}-`.padEnd(ID_BYTES_MAX, "a"));

  await world.stores.kafka.pause();
  const sent = Array.from({ length: BODIES }, async (_, i) => {
    const lines = actors
      .slice(i * EVENT_ACTS_UNDER_WAY_MAX)
      .slice(0, EVENT_ACTS_UNDER_WAY_MAX)
      .map(lineOf);
    const headers = { "content-type": "application/x-ndjson" };
    const url = new URL("/v1/events", node.url);
    return (await fetch(url, { method: "POST", headers, body: lines.join("\n") })).status;
  });
  const statuses = new Set(await Promise.all(sent));
  await world.stores.kafka.resume();
  expect([...statuses].filter((status) => status !== 200 && status !== 202)).toEqual([]);
  await world.settle();
  expect(await world.verify()).toEqual([]);
  expect((await node.json<{ count: number }>(likes)).count).toBe(actors.length + 1);
}, 120_000);
