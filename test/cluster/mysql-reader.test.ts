import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { TOP } from "../../src/arithmetic/place.ts";
import { AwayNews } from "../../src/cluster/mysql/away-news.ts";
import { LedgerConnection, PATIENT } from "../../src/cluster/mysql/connection.ts";
import { MysqlLedgerWriter } from "../../src/cluster/mysql/ledger.ts";
import { MysqlLedgerReader } from "../../src/cluster/mysql/reads.ts";
import { LedgerUnavailable } from "../../src/ports/ledger.ts";
import { TcpProxy } from "../support/services.ts";
import { key, LIKES, like, message, OwnMysql, PARTITIONS, subjectIn, TOPIC, VIEWS, view } from "./mysql-support.ts";

const mysql = new OwnMysql();
let writer: MysqlLedgerWriter;
beforeEach(() => {
  writer = new MysqlLedgerWriter(mysql.url);
});
afterEach(() => writer.close());

const A = subjectIn(1);
const B = subjectIn(2);

describe("what is read together is of one commit", () => {
  test("counts, registers, numbers and keys with the version, while a writer writes", async () => {
    let isWriting = true;
    const writing = (async () => {
      // Commit v makes everything v: count, n, position, and the register's stamp 2v + 1.
      for (let v = 1; v <= 250; v++) {
        await writer.apply([message(v - 1, "n", like(2 * v - 1, A, "x", 2 * v + 1), view(2 * v, A, 1, key(v)))], TOPIC);
      }
      isWriting = false;
    })();
    const register = { metric: LIKES, subject: A, actor: "x" };
    const never = { metric: LIKES, subject: A, actor: "y" };
    const keys = Array.from({ length: 251 }, (_, i) => key(i + 1).key);
    let looks = 0;
    const seen = new Set<number>();
    for (; isWriting || looks < 20; looks++) {
      const [hint, none] = await mysql.reader.hints([
        { ...register, shard: 1 },
        { ...never, shard: 1 },
      ]);
      expect(hint?.stamp).toBe(hint?.version ? 2 * hint.version + 1 : 0);
      expect([none?.stamp, none?.version]).toEqual([0, hint?.version]);
      const [base, absent] = await mysql.reader.bases([
        { metric: VIEWS, subject: A, shard: 1 },
        { metric: VIEWS, subject: B, shard: 2 },
      ]);
      expect(base?.count).toBe(base?.version as number);
      expect(absent).toMatchObject({ count: 0, version: 0, incarnation: base?.incarnation as string });
      const { version, stamps, stored } = await mysql.reader.versionOf(1, [register, never], keys);
      const v = version.version;
      expect(version).toEqual({
        shard: 1,
        incarnation: base?.incarnation as string,
        version: v,
        position: v,
        last: v ? [["n", 2 * v]] : [],
      });
      expect(stamps).toEqual([v ? 2 * v + 1 : 0, 0]);
      expect(stored.indexOf(false)).toBe(v);
      seen.add(v);
    }
    await writing;
    expect(seen.size).toBeGreaterThan(3);
  }, 30_000);

  test("more names than one statement takes, each with its answer", async () => {
    const actors = Array.from({ length: 1_300 }, (_, i) => `a${i}`);
    const some = actors.filter((_, i) => i % 2 === 0);
    await writer.apply([message(0, "n", ...some.map((actor, i) => like(i + 1, A, actor, 2 * i + 1)))], TOPIC);
    const registers = actors.map((actor) => ({ shard: 1, metric: LIKES, subject: A, actor }));
    const hints = await mysql.reader.hints(registers);
    expect(hints.map(({ stamp }) => stamp)).toEqual(actors.map((_, i) => (i % 2 === 0 ? i + 1 : 0)));
    expect((await mysql.reader.versionOf(1, registers)).stamps).toEqual(hints.map(({ stamp }) => stamp));
    expect(await mysql.reader.hints([])).toEqual([]);
    expect(await mysql.reader.bases([])).toEqual([]);
  });

  test("an actor's count with what is on its way", async () => {
    const C = subjectIn(3);
    await writer.apply([message(0, "n", like(1, A, "x", 11)), message(0, "n", like(1, B, "x", 13))], TOPIC);
    const onTheWay = [
      { id: A, stamp: 20 },
      { id: B, stamp: 9 },
      { id: C, stamp: 21 },
      { id: "user/1", stamp: 23 },
    ];
    expect(await mysql.reader.actorCountWith(LIKES, "x", undefined, onTheWay)).toBe(3);
    expect(await mysql.reader.actorCountWith(LIKES, "x", "article", onTheWay)).toBe(2);
    expect(await mysql.reader.actorCountWith(LIKES, "x", "article", [])).toBe(2);
  });

  test("a key with the version of its shard", async () => {
    const once = key(1, Date.now());
    expect(await mysql.reader.keyHint(1, once.key)).toEqual({ known: null, version: 0 });
    await writer.apply([message(0, "n", view(1, A, 1, once), view(2, A, 1, key(2, Date.now() - 700_000)))], TOPIC);
    expect(await mysql.reader.keyHint(1, once.key)).toEqual({
      known: { body: once.body, atMs: once.atMs },
      version: 1,
    });
    expect((await mysql.reader.keyHint(1, key(2).key)).known).toBeNull();
  });

  test("sources by name", async () => {
    await writer.apply([message(0, "n", view(1, A, 1)), message(0, "m", view(1, B, 1), view(2, B, 1))], TOPIC);
    expect(await mysql.reader.lastOf(["m", "o"])).toEqual([{ source: "m", shard: 2, last: 2 }]);
    const both = await mysql.reader.lastOf(["n", "m"]);
    expect(both.toSorted((a, b) => a.shard - b.shard)).toEqual([
      { source: "n", shard: 1, last: 1 },
      { source: "m", shard: 2, last: 2 },
    ]);
  });
});

test("no list, look or sum reads more than it has to", async () => {
  const connection = await LedgerConnection.open(mysql.url, PATIENT);
  const plans: string[] = [];
  const ask = connection.ask.bind(connection);
  const records = Array.from({ length: 400 }, (_, i) => like(i + 1, A, `a${i}`, 2 * i + 1));
  await writer.apply([message(0, "n", ...records)], TOPIC);
  // What the reader asks, as the server would go about it.
  const original = LedgerConnection.prototype.ask;
  LedgerConnection.prototype.ask = function (sql: string, timeoutMs?: number) {
    if (/^\s*SELECT/.test(sql)) plans.push(sql);
    return original.call(this, sql, timeoutMs);
  };
  try {
    await mysql.reader.hints([{ shard: 1, metric: LIKES, subject: A, actor: "a1" }]);
    await mysql.reader.bases([{ shard: 1, metric: LIKES, subject: A }]);
    await mysql.reader.versionOf(1, [{ metric: LIKES, subject: A, actor: "a1" }], [key(1).key]);
    await mysql.reader.newestActors(LIKES, A, TOP, 10);
    await mysql.reader.newestActors(LIKES, A, { stamp: 701, id: "a350" }, 10);
    await mysql.reader.newestSubjects(LIKES, "a1", { stamp: 701, id: A }, 10);
    await mysql.reader.newestSubjects(LIKES, "a1", { stamp: 701, id: A }, 10, "article");
    await mysql.reader.actorCount(LIKES, "a1", "article");
    await mysql.reader.count(LIKES, A);
    await mysql.reader.countsOf(A);
    await mysql.reader.registersOf(A, "a1");
    await mysql.reader.keyHint(1, key(1).key);
    await mysql.reader.lastOf(["n"]);
  } finally {
    LedgerConnection.prototype.ask = original;
  }
  for (const sql of plans) {
    for (const row of await ask(`EXPLAIN ${sql}`)) {
      const [, select, table, type, , index, , , , extra] = row.map(String);
      if (!["relations", "counts", "keys", "sources"].includes(table as string)) continue;
      const plan = `${select} ${table} ${type} ${index}: ${extra}`;
      expect(plan).not.toMatch(/filesort|temporary|ALL|index .*:/);
      if (table === "relations") expect(plan).toMatch(/Using index|PRIMARY/);
    }
  }
  connection.close();
});

describe("a server that is away", () => {
  /** What is known needs no deadline, of 1 s: half of one is for a machine that does much else. */
  const AT_ONCE_MS_MAX = 500;
  /** A deadline to connect and one for an answer, and as long again for such a machine. */
  const FIRST_MS_MAX = 4_000;
  /** How long a look takes that must fail. */
  async function refused(): Promise<number> {
    const startedAt = performance.now();
    const error = await mysql.reader.count(VIEWS, A).then(
      () => null,
      (it: unknown) => it,
    );
    expect(error).toBeInstanceOf(LedgerUnavailable);
    return performance.now() - startedAt;
  }
  async function back(): Promise<void> {
    while (mysql.reader.isAway) await Bun.sleep(5);
    expect(await mysql.reader.count(VIEWS, A)).toBe(1);
  }
  beforeEach(() => writer.apply([message(0, "n", view(1, A, 1))], TOPIC));

  test("and silent costs the first ones a deadline, the others nothing, and is found again", async () => {
    expect(await mysql.reader.count(VIEWS, A)).toBe(1);
    await mysql.server.pause();
    try {
      const times = await Promise.all(Array.from({ length: 50 }, refused));
      expect(Math.max(...times)).toBeLessThan(FIRST_MS_MAX);
      expect(mysql.reader.isAway).toBe(true);
      expect(await refused()).toBeLessThan(AT_ONCE_MS_MAX);
    } finally {
      await mysql.server.resume();
    }
    await back();
  }, 30_000);

  test("and silent is known to a node's other threads as soon as its log thread knows", async () => {
    const word = AwayNews.allocate();
    const open = (isTeller: boolean, url = mysql.url) =>
      new MysqlLedgerReader(url, { partitions: PARTITIONS, away: { word, isTeller } });
    const logThread = open(true);
    mysql.reader.close();
    mysql.reader = open(false);
    for (const reader of [logThread, mysql.reader]) expect(await reader.count(VIEWS, A)).toBe(1);
    await mysql.server.pause();
    try {
      await expect(logThread.count(VIEWS, A)).rejects.toBeInstanceOf(LedgerUnavailable);
      expect(await refused()).toBeLessThan(AT_ONCE_MS_MAX);
      const known = { actor: "x", relation: LIKES, type: "article", walked: [], looked: [], registers: [] };
      const startedAt = performance.now();
      await expect(mysql.reader.knownActors(known)).rejects.toBeInstanceOf(LedgerUnavailable);
      expect(performance.now() - startedAt).toBeLessThan(AT_ONCE_MS_MAX);
    } finally {
      await mysql.server.resume();
    }
    await back();
    while (logThread.isAway) await Bun.sleep(5);
    expect(await mysql.reader.count(VIEWS, A)).toBe(1);
    logThread.close();
  }, 30_000);

  test("from the log thread alone is away from the others for a moment only", async () => {
    const proxy = await TcpProxy.start(mysql.server.port);
    const there = new URL(mysql.url);
    there.port = String(proxy.port);
    const word = AwayNews.allocate();
    const logThread = new MysqlLedgerReader(there.href, { partitions: PARTITIONS, away: { word, isTeller: true } });
    mysql.reader.close();
    mysql.reader = new MysqlLedgerReader(mysql.url, { partitions: PARTITIONS, away: { word, isTeller: false } });
    expect(await mysql.reader.count(VIEWS, A)).toBe(1);
    await proxy.cut();
    await expect(logThread.count(VIEWS, A)).rejects.toBeInstanceOf(LedgerUnavailable);
    await refused();
    await back();
    for (let i = 0; i < 10; i++) expect(await mysql.reader.count(VIEWS, A)).toBe(1);
    expect(logThread.isAway).toBe(true);
    logThread.close();
    await proxy.close();
  }, 30_000);

  test("and dead is known at once, and found again", async () => {
    expect(await mysql.reader.count(VIEWS, A)).toBe(1);
    await mysql.server.kill();
    try {
      expect(await refused()).toBeLessThan(1_000);
      expect(await refused()).toBeLessThan(AT_ONCE_MS_MAX);
    } finally {
      await mysql.server.start();
    }
    await back();
  }, 30_000);

  test("from the start on is no trouble for making a reader", async () => {
    const proxy = await TcpProxy.start(mysql.server.port);
    proxy.hang();
    const there = new URL(mysql.url);
    there.port = String(proxy.port);
    mysql.reader.close();
    mysql.reader = new MysqlLedgerReader(there.href, { partitions: PARTITIONS });
    expect(await refused()).toBeLessThan(FIRST_MS_MAX);
    expect(await refused()).toBeLessThan(AT_ONCE_MS_MAX);
    proxy.heal();
    await back();
    // A connection that was lost while nobody used it is no reason to refuse anyone.
    proxy.reset();
    expect(await mysql.reader.count(VIEWS, A)).toBe(1);
    await proxy.close();
  }, 30_000);

  test("a reader that is closed says so, to those who wait too", async () => {
    const waiting = Promise.allSettled(Array.from({ length: 20 }, () => mysql.reader.count(VIEWS, A)));
    mysql.reader.close();
    for (const it of await waiting) expect(it.status).toBe("rejected");
    await refused();
  });
});
