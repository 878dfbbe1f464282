import { beforeAll, describe, expect, test } from "bun:test";
import { type Api, type Deployment, expectProblem, freshSubject, type Reply, useServer } from "../support/contract.ts";
import { eventually } from "../support/eventually.ts";
import { clearOfMidnight } from "../support/midnight.ts";
import { TestConnection } from "../support/upload-connection.ts";
import { configFile } from "./rules.suite.ts";

const METRICS = `
metrics:
  visits: {kind: tally, unique: 30m, distinct: true}
  blinks: {kind: tally, unique: 1s}
  plays: {kind: tally, distinct: true}
  reads: {kind: tally, bots: drop}
  outside: {kind: tally, ignore: [10.0.0.0/8]}
  shares: {kind: tally}
trustedProxies: [127.0.0.0/8, "::1"]
`;
const NDJSON = "application/x-ndjson";
const HERE = { agent: "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0", from: "198.51.100.7" };
const ELSEWHERE = { agent: `${HERE.agent}!`, from: "198.51.100.8" };
const ROBOT = { ...HERE, agent: "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)" };
const INSIDE = { ...HERE, from: "10.1.2.3" };

let keys = 0;
const freshKey = () => `visitors-${process.pid}-${++keys}`;
const heads = ({ agent, from }: typeof HERE) => ({ "user-agent": agent, "x-forwarded-for": from });
const line = (metric: string, subject: string, more: object = {}) => JSON.stringify({ metric, subject, ...more });

/** Bodies with a key whose lines have visitors: rules decide what counts, and sketches see who came. */
export function uploadVisitors(deployment: Deployment): void {
  describe("POST /v1/events with an Idempotency-Key, of metrics with visitors", () => {
    const env = { TALLY_KEYS: "admin:s-admin" };
    const api = useServer(deployment, { args: ["--config", configFile(METRICS), "--anonymous", "count"], env });
    // At midnight somebody without a name gets another one, and is one visitor more.
    beforeAll(() => clearOfMidnight(60_000), 90_000);

    const send = (lines: readonly string[], key: string, by = HERE): Promise<Reply> =>
      api.post("/v1/events", {
        headers: { ...heads(by), "content-type": NDJSON, "idempotency-key": key },
        body: lines.join("\n"),
      });
    const sendAll = async (lines: readonly string[], key: string, by = HERE): Promise<void> => {
      const reply = await send(lines, key, by);
      expect(reply.status, reply.text).toBe(200);
      expect(reply.json).toEqual({ accepted: lines.length, rejected: 0, errors: [] });
    };
    /** On every node. */
    const expectCounts = (path: string, counts: Record<string, number>) =>
      eventually(async () => {
        for (const _ of api.urls)
          expect((await api.get(path, { headers: heads(HERE) })).json.counts).toMatchObject(counts);
      });
    const expectDistinct = (path: string, all: number) =>
      eventually(async () => {
        for (const _ of api.urls) expect((await api.get(path, { headers: heads(HERE) })).json.distinct.all).toBe(all);
      });
    /** The ledger has what counted: from then on nobody takes a repeat's line for a new one. */
    const inLedger = (path: string, count: number) =>
      eventually(async () => {
        const { json } = await api.get(path.replace("/subjects/", "/history/"), { headers: heads(HERE) });
        expect(json.points.reduce((sum: number, point: { count: number }) => sum + point.count, 0)).toBe(count);
      });

    test("each line counts once, however often it is sent, and each visitor is seen once", async () => {
      const { subject, path } = freshSubject();
      const lines = [
        ...["ann", "bob", "ann", "Ann", "é 🎉/%2F", "__proto__"].map((actor) =>
          line("visits", subject, { actor, by: 3 }),
        ),
        ...["ann", "ann", "bob"].map((actor) => line("plays", subject, { actor })),
        line("plays", subject),
        line("visits", subject),
        line("visits", subject, { by: 7 }),
        line("reads", subject, { by: 2 }),
        line("outside", subject, { by: 4 }),
        line("shares", subject),
      ];
      const key = freshKey();
      for (let i = 0; i < 3; i++) await sendAll(lines, key);
      await expectCounts(path, { visits: 16, plays: 4, reads: 2, outside: 4, shares: 1 });
      await expectDistinct(`${path}/visits`, 6);
      await expectDistinct(`${path}/plays`, 3);
      // Under another key they are other lines, of visitors who have had their turn.
      await sendAll(lines, freshKey());
      await expectCounts(path, { visits: 16, plays: 8, reads: 4, outside: 8, shares: 2 });
      await expectDistinct(`${path}/plays`, 3);
    });

    test("more lines than a block holds, and more visitors than may be asked about at once", async () => {
      const { subject, path } = freshSubject();
      const id = "x".repeat(100);
      const lines = Array.from({ length: 6_000 }, (_, i) => line("visits", subject, { actor: `${id}${i % 3_000}` }));
      const key = freshKey();
      for (let i = 0; i < 2; i++) await sendAll(lines, key);
      await expectCounts(path, { visits: 3_000 });
    }, 60_000);

    test("sent to every node and thread at once it counts once", async () => {
      const { subject, path } = freshSubject();
      const actors = Array.from({ length: 300 }, (_, i) => `a${i % 100}`);
      const lines = actors.flatMap((actor) => [line("visits", subject, { actor }), line("plays", subject, { actor })]);
      const key = freshKey();
      await Promise.all(Array.from({ length: 6 }, () => sendAll(lines, key)));
      await expectCounts(path, { visits: 100, plays: 300 });
      for (const metric of ["visits", "plays"]) {
        // Of those who came to another node a node learns from the ledger, which is later there than the counts.
        await eventually(async () => {
          const { distinct } = (await api.get(`${path}/${metric}`, { headers: heads(HERE) })).json;
          expect(distinct.all).toBeGreaterThan(96);
          expect(distinct.all).toBeLessThan(104);
        });
      }
    });

    test("what rules have left out stays out, whoever sends the repeat, and what counted stays counted", async () => {
      const { subject, path } = freshSubject();
      const lines = ["reads", "outside", "shares"].map((metric) => line(metric, subject));
      const cases = [
        { first: ROBOT, again: HERE, counts: { reads: 0, outside: 1, shares: 1 } },
        { first: INSIDE, again: ROBOT, counts: { reads: 1, outside: 1, shares: 2 } },
        { first: HERE, again: INSIDE, counts: { reads: 2, outside: 2, shares: 3 } },
      ];
      for (const { first, again, counts } of cases) {
        const key = freshKey();
        await sendAll(lines, key, first);
        await expectCounts(path, counts);
        await sendAll(lines, key, again);
        await expectCounts(path, counts);
      }
    });

    test("sent again from elsewhere it names no other visitor, and takes no other one's turn", async () => {
      const { subject, path } = freshSubject();
      const lines = [line("visits", subject), line("plays", subject)];
      const key = freshKey();
      await sendAll(lines, key);
      await inLedger(`${path}/visits`, 1);
      await inLedger(`${path}/plays`, 1);
      await sendAll(lines, key, ELSEWHERE);
      await expectDistinct(`${path}/visits`, 1);
      await expectDistinct(`${path}/plays`, 1);
      const own = await api.post(`${path}/visits`, { headers: heads(ELSEWHERE) });
      expect(own.json.counted, own.text).toBeUndefined();
    });

    test("sent again when its visitor's time is over it takes no turn", async () => {
      const { subject, path } = freshSubject();
      const lines = [line("blinks", subject, { actor: "ann" })];
      const key = freshKey();
      await sendAll(lines, key);
      await inLedger(`${path}/blinks`, 1);
      await Bun.sleep(1_050);
      await sendAll(lines, key);
      const own = await api.post(`${path}/blinks`, { headers: heads(HERE), json: { actor: "ann" } });
      expect(own.json.counted, own.text).toBeUndefined();
    });

    test("a body that is refused, as its key has named another one, has had no visitors", async () => {
      const { subject, path } = freshSubject();
      const key = freshKey();
      await sendAll([line("shares", subject)], key);
      const other = [line("visits", subject, { actor: "ann" }), line("plays", subject, { actor: "ann" })];
      expectProblem(await send(other, key), 422, "key-reused");
      await expectDistinct(`${path}/plays`, 0);
      await expectDistinct(`${path}/visits`, 0);
      expect((await api.post(`${path}/visits`, { headers: heads(HERE), json: { actor: "ann" } })).json).toEqual({
        count: 1,
      });
    });

    test("broken off and sent again it counts once", async () => {
      const { subject, path } = freshSubject();
      const lines = Array.from({ length: 9_000 }, (_, i) => line("visits", subject, { actor: `a${i % 700}`, by: 2 }));
      const bytes = Buffer.from(lines.join("\n"));
      const key = freshKey();
      for (const part of [0.2, 0.6, 0.9]) {
        const connection = await TestConnection.open(api.node(keys % api.urls.length).urls[0] as string);
        await connection.begin({ key, type: NDJSON, bytes: bytes.length });
        await connection.send(bytes.subarray(0, bytes.length * part));
        connection.cut();
      }
      await sendAll(lines, key);
      await expectCounts(path, { visits: 1_400 });
      await checkTurns(api, path, "a699");
    }, 60_000);
  });
}

/** The visitor has had his turn. */
async function checkTurns(api: Api, path: string, actor: string): Promise<void> {
  const { json } = await api.post(`${path}/visits`, { headers: heads(HERE), json: { actor } });
  expect(json.counted).toBe(false);
}
