import { expect, test } from "bun:test";
import { freshSubject, useOpened } from "../support/contract.ts";
import { eventually } from "../support/eventually.ts";
import { STORES, type Store } from "../support/new-cluster.ts";
import type { TestServer } from "../support/server.ts";
import { TwoNodes } from "../support/two-nodes.ts";

const TEST_MS_MAX = 120_000;
const MOVED_MS_MAX = 40_000;
const LIKES = 40;

const nodes = useOpened(() => TwoNodes.start());

interface Stats {
  log: { lagMessages: number; lagSeconds: number };
}

/** What a node has said of stores that go and come, from a line on. */
function said(server: TestServer, from: number): unknown[] {
  return server.lines.slice(from).flatMap(({ level, msg }) => {
    return /^(?:Redis|Kafka|MySQL) is (?:away|back)$/.test(String(msg)) ? [`${level}: ${msg}`] : [];
  });
}

async function untilIs(server: TestServer, store: Store, status: "up" | "down"): Promise<string> {
  return eventually(async () => {
    const { parts } = await server.json<{ parts: Record<Store, { status: string; detail?: string }> }>("/readyz");
    expect([store, parts[store].status]).toEqual([store, status]);
    return parts[store].detail ?? "";
  });
}

test(
  "a store that a node loses and finds again is said once each, and /readyz says why it is away",
  async () => {
    const server = nodes().server(0);
    const names = { redis: "Redis", kafka: "Kafka", mysql: "MySQL" };
    expect(said(server, 0)).toEqual([]);
    for (const store of STORES) {
      const from = server.lines.length;
      await nodes().ways(0)[store].cut();
      const detail = await untilIs(server, store, "down");
      expect(detail).toMatch(/\w+ \w+/);
      expect(detail).not.toMatch(/refuses|^Error/);
      await nodes().api(0).put(`${freshSubject().path}/likes/1`);
      await nodes().ways(0)[store].heal();
      await untilIs(server, store, "up");
      await eventually(async () => {
        expect(said(server, from)).toEqual([`warn: ${names[store]} is away`, `info: ${names[store]} is back`]);
      });
    }
    expect(said(nodes().server(1), 0)).toEqual([]);
  },
  TEST_MS_MAX,
);

test(
  "partitions that another node has taken over with what waited in them do not lag here",
  async () => {
    const [here, there] = [nodes().server(0), nodes().server(1)];
    const lagOf = async (server: TestServer) => (await server.json<Stats>("/v1/stats")).log;
    for (const { lines } of [here, there]) {
      await eventually(async () => expect(lines.map(({ msg }) => msg)).toContain("the log is being read"));
    }
    await nodes().ways(0).mysql.cut();
    const liked = Array.from({ length: LIKES }, () => freshSubject());
    for (const { path } of liked) expect((await nodes().api(1).put(`${path}/likes/1`)).status).toBe(200);
    await eventually(async () => expect((await lagOf(here)).lagSeconds).toBeGreaterThan(1));
    await eventually(async () => {
      for (const { subject } of liked) expect(await nodes().stored(subject, "likes")).toBe(1);
    }, MOVED_MS_MAX);
    expect(await lagOf(here)).toMatchObject({ lagMessages: 0, lagSeconds: 0 });
    await nodes().ways(0).mysql.heal();
    await untilIs(here, "mysql", "up");
    for (const server of [here, there]) {
      await eventually(async () => expect(await lagOf(server)).toMatchObject({ lagMessages: 0, lagSeconds: 0 }));
    }
  },
  TEST_MS_MAX,
);

test(
  "a node that is given partitions while MySQL is away from it alone gives them to those who can read on",
  async () => {
    await nodes().server(0).stop();
    await nodes().ways(0).mysql.cut();
    await nodes().startNode(0);
    const { lines } = nodes().server(0);
    const gotSome = "where to read the log on cannot be found out now";
    await eventually(async () => expect(lines.map(({ msg }) => msg)).toContain(gotSome), MOVED_MS_MAX);
    const liked = Array.from({ length: LIKES }, () => freshSubject());
    for (const { path } of liked) await nodes().api(1).put(`${path}/likes/1`);
    await eventually(async () => {
      for (const { subject } of liked) expect(await nodes().stored(subject, "likes")).toBe(1);
    }, MOVED_MS_MAX);
    await nodes().ways(0).mysql.heal();
    await untilIs(nodes().server(0), "mysql", "up");
  },
  TEST_MS_MAX,
);
