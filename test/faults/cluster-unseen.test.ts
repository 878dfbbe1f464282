import { expect, test } from "bun:test";
import mysql from "mysql2/promise";
import { freshSubject, useOpened } from "../support/contract.ts";
import { eventually } from "../support/eventually.ts";
import { untilAsked, untilEqual, untilReady } from "../support/stores-away.ts";
import { TwoNodes } from "../support/two-nodes.ts";

const PAIRS = 25;
const nodes = useOpened(() => TwoNodes.start());

/** What nodes tell of acts that no copy shows. */
async function told(): Promise<number> {
  const connection = await mysql.createConnection(nodes().cluster.mysql.url);
  try {
    const [rows] = await connection.query<mysql.RowDataPacket[]>("SELECT COUNT(*) AS rows_told FROM unseen");
    return Number(rows[0]?.rows_told);
  } finally {
    await connection.end();
  }
}

async function cut(...stores: ("redis" | "kafka")[]): Promise<void> {
  await Promise.all(stores.map((store) => nodes().ways(0)[store].cut()));
}

/** Both nodes have all stores, and neither has told the other anything that it has not taken back. */
async function heal(): Promise<void> {
  const { redis, kafka } = nodes().ways(0);
  await Promise.all([redis.heal(), kafka.heal()]);
  await untilReady(nodes().api(0));
  await untilAsked(nodes().api(0));
  await eventually(async () => expect(await told()).toBe(0));
}

for (const stores of [["redis"], ["redis", "kafka"]] as const) {
  test(`what a node did that is cut off from ${stores.join(" and ")} alone is undone at another node`, async () => {
    const liked = freshSubject();
    await nodes().api(0).put(`${liked.path}/likes/0`);
    const other = freshSubject();
    const first = await nodes().api(0).put(`${other.path}/likes/0`);
    await cut(...stores);
    const subjects = Array.from({ length: PAIRS }, () => freshSubject());
    try {
      for (const { path } of subjects) {
        expect((await nodes().api(0).put(`${path}/likes/7`)).status).toBe(202);
        expect((await nodes().api(1).delete(`${path}/likes/7`)).json.active).toBe(false);
      }
      for (let i = 0; i < PAIRS; i++) {
        expect((await nodes().api(0).delete(`${liked.path}/likes/0`)).status).toBe(202);
        expect((await nodes().api(1).put(`${liked.path}/likes/0`)).json.active).toBe(true);
      }
      if (stores.length === 1) {
        // MySQL has what Kafka has, so a repeat is one, and stays where it is.
        const again = await nodes().api(1).put(`${other.path}/likes/0`);
        expect([again.status, again.json]).toEqual([200, { ...first.json, changed: false }]);
      }
    } finally {
      await heal();
    }
    await untilEqual(nodes(), liked.subject, { likes: 1 });
    const marked = freshSubject();
    // Whatever came into the log before it is in the ledger, too.
    await nodes().api(0).put(`${marked.path}/likes/7`);
    await untilEqual(nodes(), marked.subject, { likes: 1 });
    for (const { subject } of subjects) await untilEqual(nodes(), subject, { likes: 0 });
  }, 120_000);
}

test("a node says so until its acts are shown, across a SIGKILL; then there is nothing to do again", async () => {
  const { path, subject } = freshSubject();
  await cut("redis", "kafka");
  try {
    expect((await nodes().api(0).put(`${path}/likes/7`)).status).toBe(202);
    expect(await told()).toBe(1);
    await nodes().server(0).kill();
    await nodes().startNode(0);
    expect((await nodes().api(1).delete(`${path}/likes/7`)).status).toBe(202);
    await eventually(async () => expect(await told()).toBeGreaterThan(0));
  } finally {
    await heal();
  }
  await untilEqual(nodes(), subject, { likes: 0 });
  const again = await nodes().api(1).delete(`${path}/likes/7`);
  expect([again.status, again.json]).toMatchObject([200, { active: false, changed: false, count: 0 }]);
}, 60_000);
