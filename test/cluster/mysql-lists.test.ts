import { afterAll, beforeAll, expect, test } from "bun:test";
import { TOP } from "../../src/arithmetic/place.ts";
import { LedgerConnection, PATIENT } from "../../src/cluster/mysql/connection.ts";
import { prepareLedger } from "../../src/cluster/mysql/open-ledger.ts";
import { MysqlLedgerReader } from "../../src/cluster/mysql/reads.ts";
import { registerSql } from "../../src/cluster/mysql/registers.ts";
import type { RegisterName } from "../../src/ports/hot-store.ts";
import { ODD } from "../support/odd-ids.ts";
import { random } from "../support/random.ts";
import { MysqlServer } from "../support/services.ts";

const [LIKES, FOLLOWS] = [3, 5];

let server: MysqlServer;
let reader: MysqlLedgerReader;
let connection: LedgerConnection;
beforeAll(async () => {
  server = await MysqlServer.start({ durable: false });
  const url = await server.createDatabase();
  await prepareLedger(url);
  reader = new MysqlLedgerReader(url, { partitions: 4 });
  connection = await LedgerConnection.open(url, PATIENT);
}, 60_000);
afterAll(async () => {
  connection.close();
  reader.close();
  await server.close();
});

test("both ways tell the same of lists and followed with odd ids, and what is stored of registers", async () => {
  const chance = random(99);
  const rows = new Map<string, RegisterName & { stamp: number }>();
  const put = (metric: number, subject: string, actor: string) => {
    const stamp = 2 * (rows.size + 1) + (chance.chance(0.8) ? 1 : 0);
    rows.set(JSON.stringify([metric, subject, actor]), { metric, subject, actor, stamp });
  };
  const lists = ODD.slice(0, 12).map((id) => ({ metric: LIKES, subject: `article/${id}` }));
  for (const { subject } of lists) for (const actor of ODD) if (chance.chance(0.3)) put(LIKES, subject, actor);
  const me = "o'ne\\";
  for (const id of ODD) {
    if (chance.chance(0.5)) put(FOLLOWS, `user/${id}`, me);
    if (chance.chance(0.5)) put(LIKES, `user/${id}`, me);
    if (chance.chance(0.5)) put(FOLLOWS, `users/${id}`, me);
    if (chance.chance(0.5)) put(FOLLOWS, `user/${id}`, "another");
  }
  const values = Array.from(rows.values(), (row) => `${registerSql(row).slice(0, -1)},${row.stamp})`);
  await connection.write(`INSERT INTO relations (actor, subject, metric, stamp) VALUES ${values.join(",")}`);

  const stampOf = (name: RegisterName) => rows.get(JSON.stringify([name.metric, name.subject, name.actor]))?.stamp ?? 0;
  const expected = lists.flatMap((list) =>
    ODD.filter((id) => stampOf({ metric: FOLLOWS, subject: `user/${id}`, actor: me }) % 2 === 1)
      .map((actor) => ({ ...list, actor }))
      .filter((name) => stampOf(name) % 2 === 1)
      .map((name) => JSON.stringify([name.subject, name.actor, stampOf(name)])),
  );
  expect(expected.length).toBeGreaterThan(30);
  const registers = ODD.map((actor) => ({ metric: LIKES, subject: "article/Bob", actor }));
  const stored = registers.filter((name) => stampOf(name) > 0).map((name) => stampOf(name));
  const ask = { actor: me, relation: FOLLOWS, type: "user" };
  for (const [walked, looked] of [
    [lists, []],
    [[], lists],
    [lists.slice(0, 5), lists.slice(5)],
  ]) {
    const answer = await reader.knownActors({ ...ask, walked: walked ?? [], looked: looked ?? [], registers });
    const listed = answer.listed.map(([{ subject, actor }, stamp]) => JSON.stringify([subject, actor, stamp]));
    expect(listed.sort()).toEqual(expected.toSorted());
    expect(answer.stored.map(([, stamp]) => stamp).sort()).toEqual(stored.sort());
  }
  expect(await reader.knownActors({ ...ask, walked: lists, looked: [], registers: [] })).toMatchObject({ stored: [] });
});

test("each way finds its rows by the index, however many others there are", async () => {
  const lists = [{ metric: LIKES, subject: "article/many" }];
  const many = Array.from({ length: 20_000 }, (_, i) => `('${i}','article/many',${LIKES},${2 * i + 1})`);
  await connection.write(`INSERT INTO relations (actor, subject, metric, stamp) VALUES ${many.join(",")}`);
  const others = Array.from({ length: 20_000 }, (_, i) => `('17','other/${i}',${LIKES},${2 * i + 1})`);
  await connection.write(`INSERT INTO relations (actor, subject, metric, stamp) VALUES ${others.join(",")}`);
  const follows = Array.from({ length: 50 }, (_, i) => `('fan','user/${i}',${FOLLOWS},${2 * i + 1})`);
  await connection.write(`INSERT INTO relations (actor, subject, metric, stamp) VALUES ${follows.join(",")}`);
  const rowsRead = async () => {
    const rows = await connection.ask("SHOW GLOBAL STATUS LIKE 'Handler_read%'");
    return rows.reduce((sum, [, value]) => sum + Number(value), 0);
  };
  const ask = { actor: "fan", relation: FOLLOWS, type: "user", registers: [] };
  const before = await rowsRead();
  expect((await reader.knownActors({ ...ask, walked: [], looked: lists })).listed).toHaveLength(50);
  expect((await rowsRead()) - before).toBeLessThan(2_000);
  expect((await reader.knownActors({ ...ask, walked: lists, looked: [] })).listed).toHaveLength(50);
  expect((await rowsRead()) - before).toBeLessThan(60_000);
});

test("a page far down a list reads no more rows than the first, and nor does one among equal stamps", async () => {
  const rowsRead = async () => {
    const rows = await connection.ask("SHOW GLOBAL STATUS LIKE 'Handler_read%'");
    return rows.reduce((sum, [, value]) => sum + Number(value), 0);
  };
  const subject = "article/long";
  const likes = 20_000;
  const stamp = (i: number) => 2 * Math.floor(i / 50) + 1; // fifty of each
  const values = Array.from({ length: likes }, (_, i) => `('${i}','${subject}',${LIKES},${stamp(i)})`);
  await connection.write(`INSERT INTO relations (actor, subject, metric, stamp) VALUES ${values.join(",")}`);
  const reads: number[] = [];
  for (const before of [
    TOP,
    { stamp: stamp(10_000), id: "10020" },
    { stamp: stamp(200), id: "" },
    { stamp: 5, id: "120" },
  ]) {
    const earlier = await rowsRead();
    const rows = await reader.newestActors(LIKES, subject, before, 100);
    expect(rows).toHaveLength(100);
    reads.push((await rowsRead()) - earlier);
  }
  for (const read of reads) expect(read).toBeLessThan((reads[0] as number) + 60);
});
