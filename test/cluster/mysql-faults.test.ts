import { describe, expect, test } from "bun:test";
import { LedgerConnection, PATIENT } from "../../src/cluster/mysql/connection.ts";
import { MysqlLedgerWriter } from "../../src/cluster/mysql/ledger.ts";
import type { AppliedMessages, LogMessage } from "../../src/cluster/mysql/messages.ts";
import { type CountDifference, recount } from "../../src/cluster/mysql/recount.ts";
import { LedgerUnavailable } from "../../src/ports/ledger.ts";
import { random } from "../support/random.ts";
import { TcpProxy } from "../support/services.ts";
import { LIKES, like, message, OwnMysql, shardOf, subjectIn, TOPIC, VIEWS, view } from "./mysql-support.ts";

const mysql = new OwnMysql();

/** Shorter than those of a projector; a server that has just come back on a busy machine answers within them. */
const HURRIED = { connectMs: 3_000, queryMs: 3_000 };
const SUBJECTS = Array.from({ length: 40 }, (_, i) => `article/${i}`);

/** Each batch of messages views every subject once and likes it by one more actor. */
function batchOf(number: number): LogMessage[] {
  const n = new Map<number, number>();
  return SUBJECTS.map((subject) => {
    const shard = shardOf(subject);
    const inBatch = n.get(shard) ?? 0;
    n.set(shard, inBatch + 1);
    const perBatch = 2 * SUBJECTS.filter((it) => shardOf(it) === shard).length;
    const first = number * perBatch + 2 * inBatch + 1;
    const offset = number * SUBJECTS.length + SUBJECTS.indexOf(subject);
    return message(offset, "n", view(first, subject, 1), like(first + 1, subject, `x${number}`, 2 * number + 1));
  });
}

async function until(writer: MysqlLedgerWriter, messages: LogMessage[]): Promise<AppliedMessages & { tries: number }> {
  for (let tries = 1; ; tries++) {
    try {
      return { ...(await writer.apply(messages, TOPIC)), tries };
    } catch (error) {
      expect(error).toBeInstanceOf(LedgerUnavailable);
      await Bun.sleep(10);
    }
  }
}

async function expectExactly(batches: number): Promise<void> {
  while (mysql.reader.isAway) await Bun.sleep(10);
  for (const subject of SUBJECTS) {
    const counts = [await mysql.reader.count(VIEWS, subject), await mysql.reader.count(LIKES, subject)];
    expect(counts).toEqual([batches, batches]);
  }
  expect(await differences()).toEqual([]);
}

async function differences(repair = false): Promise<CountDifference[]> {
  const found: CountDifference[] = [];
  for await (const difference of recount(mysql.url, { repair, rows: 10 })) found.push(difference);
  return found;
}

describe("the writer", () => {
  test("goes through a server that is killed in the middle of it, again and again", async () => {
    const writer = new MysqlLedgerWriter(mysql.url, { deadlines: HURRIED });
    const { below } = random(3);
    let isDone = false;
    let kills = 0;
    const killing = (async () => {
      while (!isDone) {
        await Bun.sleep(20 + below(120)); // no condition: anywhere in a batch
        await mysql.server.kill();
        kills++;
        await mysql.server.start();
      }
    })();
    let batches = 0;
    for (; kills < 8 || batches < 40; batches++) await until(writer, batchOf(batches));
    isDone = true;
    await killing;
    await writer.close();
    await expectExactly(batches);
  }, 60_000);

  test("does not count twice when the answer to its commit is lost", async () => {
    const proxy = await TcpProxy.start(mysql.server.port);
    // Waited for in vain, six times; everything before the commit must be there within it.
    const LOST = { connectMs: 2_000, queryMs: 2_000 };
    const writer = new MysqlLedgerWriter(proxy.via(mysql.url), { deadlines: LOST });
    const original = LedgerConnection.prototype.write;
    LedgerConnection.prototype.write = function (sql: string, timeoutMs?: number) {
      if (sql === "COMMIT") proxy.mute();
      return original.call(this, sql, timeoutMs);
    };
    try {
      for (let batch = 0; batch < 3; batch++) {
        expect(await writer.apply(batchOf(batch), TOPIC).catch((it: unknown) => it)).toBeInstanceOf(LedgerUnavailable);
        // It is stored, and nobody was told.
        expect(await mysql.reader.count(VIEWS, SUBJECTS[0] as string)).toBe(batch + 1);
        proxy.heal();
        expect(await writer.apply(batchOf(batch), TOPIC).catch((it: unknown) => it)).toBeInstanceOf(LedgerUnavailable);
        proxy.heal();
      }
    } finally {
      LedgerConnection.prototype.write = original;
    }
    expect((await until(writer, batchOf(2))).commits).toEqual([]);
    await writer.close();
    await proxy.close();
    await expectExactly(3);
  }, 60_000);

  test("whose network is lost in the middle of a transaction does not keep the others out for long", async () => {
    const proxy = await TcpProxy.start(mysql.server.port);
    const lost = new MysqlLedgerWriter(proxy.via(mysql.url), { deadlines: { connectMs: 300, queryMs: 300, idleS: 2 } });
    const original = LedgerConnection.prototype.write;
    LedgerConnection.prototype.write = function (sql: string, timeoutMs?: number) {
      if (sql === "COMMIT") proxy.hang();
      return original.call(this, sql, timeoutMs);
    };
    try {
      expect(await lost.apply(batchOf(0), TOPIC).catch((it: unknown) => it)).toBeInstanceOf(LedgerUnavailable);
    } finally {
      LedgerConnection.prototype.write = original;
    }
    const writer = new MysqlLedgerWriter(mysql.url);
    expect((await writer.apply(batchOf(0), TOPIC)).records).toBe(2 * SUBJECTS.length);
    await Promise.all([writer.close(), lost.close(), proxy.close()]);
    await expectExactly(1);
  }, 30_000);

  test("says that the server is away, and needs nothing to go on when it is back", async () => {
    const writer = new MysqlLedgerWriter(mysql.url, { deadlines: HURRIED });
    await until(writer, batchOf(0));
    await mysql.server.stop();
    const error = await writer.apply(batchOf(1), TOPIC).catch((it: unknown) => it);
    expect(error).toBeInstanceOf(LedgerUnavailable);
    expect((error as Error).message).not.toContain("INSERT");
    await mysql.server.start();
    expect((await writer.apply(batchOf(1), TOPIC)).records).toBe(2 * SUBJECTS.length);
    await writer.close();
    await expectExactly(2);
  }, 30_000);
});

describe("a recount", () => {
  test("finds what was changed behind the ledger's back, beside a writer, and mends it under a new version", async () => {
    const writer = new MysqlLedgerWriter(mysql.url);
    for (let batch = 0; batch < 3; batch++) await until(writer, batchOf(batch));
    const [first, second, third] = SUBJECTS as [string, string, string];
    const connection = await LedgerConnection.open(mysql.url, PATIENT);
    await connection.write(`UPDATE counts SET count = 7 WHERE subject = '${first}' AND metric = ${VIEWS}`);
    await connection.write(`DELETE FROM counts WHERE subject = '${second}' AND metric = ${LIKES}`);
    await connection.write(`DELETE FROM relations WHERE subject = '${third}' AND actor = 'x1'`);
    connection.close();
    const before = await mysql.reader.shards();
    let isWriting = true;
    let batch = 3;
    const writing = (async () => {
      for (; isWriting; batch++) await until(writer, batchOf(batch));
    })();
    for (let look = 0; look < 3; look++) {
      const found = await differences();
      const names = found.map(({ what, subject, metric, found: is, expected }) => {
        return [subject, metric, what, is - expected];
      });
      expect(names.sort()).toEqual(
        [
          [first, VIEWS, "count", 4],
          [second, LIKES, "count", -3],
          [third, LIKES, "count", 1],
          [third, LIKES, "history", 1],
        ].sort() as never,
      );
    }
    expect((await differences(true)).map(({ mended }) => mended)).toEqual([true, true, true, true]);
    expect(await differences()).toEqual([]);
    isWriting = false;
    await writing;
    const after = await mysql.reader.shards();
    const shard = shardOf(first);
    const touched = [first, second, third].filter((subject) => shardOf(subject) === shard).length;
    const risen = (after[shard]?.version ?? 0) - (before[shard]?.version ?? 0);
    expect(risen).toBe(batch - 3 + touched);
    expect(await mysql.reader.count(VIEWS, first)).toBe(batch);
    expect(await mysql.reader.count(LIKES, third)).toBe(batch - 1);
    await writer.close();
  }, 60_000);

  test("of nothing, of one subject with more rows than a page, and of pages that end anywhere", async () => {
    expect(await differences()).toEqual([]);
    const writer = new MysqlLedgerWriter(mysql.url);
    const large = subjectIn(9);
    const likes = Array.from({ length: 300 }, (_, i) => like(i + 1, large, `a${i}`, 2 * i + 1));
    await writer.apply([message(0, "m", ...likes), ...batchOf(0)], TOPIC);
    await writer.close();
    for (const rows of [1, 2, 7, 40, 1_000]) {
      const pages = recount(mysql.url, { rows });
      const { value, done } = await pages.next();
      expect([value, done]).toEqual([1 + 2 * SUBJECTS.length - (SUBJECTS.includes(large) ? 1 : 0), true]);
    }
  }, 30_000);
});
