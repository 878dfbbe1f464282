import { expect, test } from "bun:test";
import { Connection } from "../support/connection.ts";
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
