import { expect, test } from "bun:test";
import { RANKED_UNASKED_MAX } from "../../src/limits.ts";
import { Connection } from "../support/connection.ts";
import { eventually } from "../support/eventually.ts";
import { inFolder, TestServer } from "../support/server.ts";

const COUNTERS_MAX = 1_000;
const SUBJECTS = 10_000;
const CONNECTIONS = 16;

/** `use` for each number below `SUBJECTS`, in an order that comes back to none too soon. */
async function eachSubject(
  url: string,
  use: (connection: Connection, subject: number) => Promise<void>,
): Promise<void> {
  let next = 0;
  const client = async () => {
    const connection = await Connection.open(url);
    for (let i = next++; i < SUBJECTS; i = next++) await use(connection, (i * 7919) % SUBJECTS);
    connection.close();
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, client));
}

test(`${SUBJECTS} subjects in a table of ${COUNTERS_MAX} counters: none refused, all exact`, async () => {
  await inFolder(async (data) => {
    const args = ["--counters-max", String(COUNTERS_MAX), "--flush-ms", "100"];
    let server = await TestServer.start({ data, args });
    const path = (subject: number, metric: string) => `/v1/subjects/article/${subject}/${metric}`;
    const statuses = new Map<number, number>();
    const send = async (connection: Connection, method: string, to: string) => {
      const answer = await connection.send(method, to);
      statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1);
      return JSON.parse(answer.body) as { count: number };
    };
    for (let round = 1; round <= 2; round++) {
      await eachSubject(server.url, async (connection, subject) => {
        expect(await send(connection, "POST", path(subject, "views"))).toMatchObject({ count: round });
        const like = await send(connection, "PUT", path(subject, `likes/${round}`));
        expect(like).toMatchObject({ active: true, changed: true, count: round });
      });
    }
    expect([...statuses]).toEqual([[200, SUBJECTS * 4]]);
    const check = () =>
      eachSubject(server.url, async (connection, subject) => {
        const { body } = await connection.send("GET", `/v1/subjects/article/${subject}?actor=2`);
        expect(JSON.parse(body)).toMatchObject({ counts: { views: 2, likes: 2 }, mine: ["likes"] });
      });
    await check();
    const metrics = await (await server.get("/metrics")).text();
    expect(Number(/^tally_counters (\d+)/m.exec(metrics)?.[1])).toBeLessThanOrEqual(COUNTERS_MAX);
    await server.kill();
    server = await TestServer.start({ data, args });
    await check();
    expect(await server.stop()).toEqual({ status: 0, signal: null });
  });
}, 180_000);

test("rankings of very many subjects rest while nobody asks for them, and are right when somebody does", async () => {
  await inFolder(async (data) => {
    let server = await TestServer.start({ data, args: ["--flush-ms", "100"] });
    const isResting = () => server.lines.some(({ msg }) => String(msg).includes("they rest"));
    const top = () =>
      eventually(async () => {
        const answer = await server.get("/v1/top/article/views?window=all&limit=2");
        expect(answer.status).toBe(200);
        return ((await answer.json()) as { items: unknown }).items;
      }, 60_000);
    const count = async (lines: string[]) => {
      const url = new URL("/v1/events", server.url);
      const answer = await fetch(url, {
        method: "POST",
        headers: { "content-type": "text/plain" },
        body: lines.join("\n"),
      });
      expect(await answer.json()).toMatchObject({ accepted: lines.length });
    };
    const subjects = 1.1 * RANKED_UNASKED_MAX;
    await count(Array.from({ length: subjects }, (_, i) => `views article/${i} ${1 + (i % 7 === 6 ? 6 : 0)}`));
    await eventually(async () => expect(isResting()).toBe(true), 120_000);
    await count(["views article/0 8", "views article/1 9"]);
    const expected = [
      { rank: 1, subject: "article/1", count: 10 },
      { rank: 2, subject: "article/0", count: 9 },
    ];
    await eventually(async () => expect(await top()).toEqual(expected), 60_000);
    await server.kill();
    server = await TestServer.start({ data });
    await eventually(async () => expect(isResting()).toBe(true), 60_000);
    expect(await top()).toEqual(expected);
    expect(await server.stop()).toEqual({ status: 0, signal: null });
  });
}, 400_000);
