import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { stampAt } from "../../src/arithmetic/stamp.ts";
import { LedgerConnection, PATIENT } from "../../src/cluster/mysql/connection.ts";
import { decidePartitions, recordedLog, recordPartitions } from "../../src/cluster/mysql/log-partitions.ts";
import { migrate, steps } from "../../src/cluster/mysql/migrate.ts";
import { ensureMetrics, prepareLedger } from "../../src/cluster/mysql/open-ledger.ts";
import { EXIT, StartError } from "../../src/errors.ts";
import type { Metric } from "../../src/model.ts";
import { LedgerUnavailable } from "../../src/ports/ledger.ts";
import { KindContradiction } from "../../src/ports/metric-numbers.ts";
import { type SharedServices, sharedServices } from "../support/services.ts";

let services: SharedServices;
beforeAll(async () => {
  services = await sharedServices();
}, 60_000);
afterAll(() => services.stop());

let url: string;
beforeEach(async () => {
  url = await services.mysql.createDatabase();
});

async function ask(sql: string): Promise<unknown[][]> {
  const connection = await LedgerConnection.open(url, PATIENT);
  try {
    return (await connection.ask(sql)) as unknown[][];
  } finally {
    connection.close();
  }
}

/** The error, or what it resolved to. */
function outcome(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    (value) => value,
    (error: unknown) => error,
  );
}

describe("the MySQL ledger's schema", () => {
  test("one of the first version gets histories of its relations, also where that is run twice", async () => {
    const connection = await LedgerConnection.open(url, PATIENT);
    const [first, more] = ["0000_ledger", "0001_relation_history"].map((tag) => steps().filter((it) => it.tag === tag));
    await migrate(connection, true, first);
    const at = (hour: number) => Date.UTC(2026, 1, 28, hour, 59, 59, 999);
    const stamps = [stampAt(at(23), true), stampAt(at(23), true) + 2, stampAt(at(24), true), stampAt(at(22), false)];
    const rows = stamps.map((stamp, i) => `('a${i}', 'article/1', 3, ${stamp})`).join(",");
    await connection.write(`INSERT INTO relations (actor, subject, metric, stamp) VALUES ${rows}`);
    await migrate(connection, true);
    for (const { sql } of more as { sql: string }[]) await connection.write(sql);
    connection.close();
    expect(await ask("SELECT at, amount FROM history ORDER BY at")).toEqual([
      [Date.UTC(2026, 1, 28, 23) / 1000, 2],
      [Date.UTC(2026, 2, 1) / 1000, 1],
    ]);
  });

  test("five nodes start at once: one schema, one incarnation, and the same number for a metric everywhere", async () => {
    const nodes = ["a b c", "c b d", "d e", "e a", "f b"].map((names) => {
      const child = join(import.meta.dir, "mysql-prepare-child.ts");
      return Bun.spawn([process.execPath, child, url, ...names.split(" ")], { stdout: "pipe", stderr: "pipe" });
    });
    const numbers = new Map<string, number>();
    for (const node of nodes) {
      const [output, errors] = await Promise.all([node.stdout.text(), node.stderr.text()]);
      expect([await node.exited, errors]).toEqual([0, ""]);
      for (const { id, name } of JSON.parse(output) as Metric[]) {
        expect(numbers.get(name) ?? id).toBe(id);
        numbers.set(name, id);
      }
    }
    expect([...numbers.values()].sort()).toEqual([1, 2, 3, 4, 5, 6]);
    expect(await ask("SELECT count(*) FROM migrations")).toEqual([[steps().length]]);
    expect(await ask("SELECT count(*) FROM incarnations")).toEqual([[1]]);
    expect(await ask("SELECT count(*), sum(version) FROM shards")).toEqual([[256, 0]]);
  });

  test("again changes nothing; wherever it was broken off, it goes on there", async () => {
    await prepareLedger(url);
    const [[incarnation]] = (await ask("SELECT name FROM incarnations")) as [[Buffer]];
    await prepareLedger(url);
    expect(await ask("SELECT name FROM incarnations")).toEqual([[incarnation]]);
    const connection = await LedgerConnection.open(url, PATIENT);
    try {
      for (const { place } of steps()) {
        const rest =
          (await connection.ask(`SELECT CONCAT('DROP TABLE \`', table_name, '\`') FROM information_schema.tables
          WHERE table_schema = DATABASE()`)) as unknown as string[][];
        for (const [drop] of rest) await connection.write(String(drop));
        // As of someone who ran so many statements and died before the book had the last of them.
        await migrate(connection, true, steps().slice(0, place + 1));
        await connection.write(`DELETE FROM migrations WHERE place = ${place}`);
        await migrate(connection);
        expect(await connection.ask("SELECT count(*) FROM migrations")).toEqual([[steps().length]]);
      }
    } finally {
      connection.close();
    }
    await prepareLedger(url);
    await ensureMetrics(url, [{ name: "views", kind: "tally" }]);
  }, 120_000);

  test("a table of somebody else's is not taken for ours", async () => {
    await ask("CREATE TABLE relations (id INT)");
    const error = (await outcome(prepareLedger(url))) as Error;
    expect(error.message).toContain("already exists");
  });

  test("behind and not to be migrated, or newer than the program: refused", async () => {
    const behind = await outcome(prepareLedger(url, false));
    expect(behind).toBeInstanceOf(StartError);
    expect((behind as StartError).message).toContain("tally migrate");
    expect((behind as StartError).exitStatus).toBe(EXIT.config);
    expect(await ask("SHOW TABLES")).toEqual([]);
    await prepareLedger(url);
    await prepareLedger(url, false);
    await ask("DELETE FROM migrations ORDER BY place DESC LIMIT 1");
    expect(((await outcome(prepareLedger(url, false))) as Error).message).toContain("tally migrate");
    await ask("INSERT INTO migrations VALUES (9999999999999, 0, X'00', 0)");
    for (const may of [true, false]) {
      const newer = await outcome(prepareLedger(url, may));
      expect(newer).toBeInstanceOf(StartError);
      expect((newer as Error).message).toContain("newer version");
    }
  });

  test("a metric keeps its number, and its kind", async () => {
    await prepareLedger(url);
    const first = await ensureMetrics(url, [
      { name: "views", kind: "tally" },
      { name: "likes", kind: "relation" },
    ]);
    expect(first.map(({ id }) => id)).toEqual([1, 2]);
    const second = await ensureMetrics(url, [
      { name: "shares", kind: "tally" },
      { name: "likes", kind: "relation" },
    ]);
    expect(second.map(({ id }) => id)).toEqual([3, 2]);
    const error = await outcome(
      ensureMetrics(url, [
        { name: "new", kind: "tally" },
        { name: "likes", kind: "tally" },
      ]),
    );
    expect(error).toBeInstanceOf(KindContradiction);
    expect((error as KindContradiction).exitStatus).toBe(EXIT.config);
    expect(await ask("SELECT count(*) FROM metrics")).toEqual([[3]]);
  });

  test("how many partitions a log has: who is first decides, and the topic overrules it", async () => {
    await prepareLedger(url);
    expect(await recordedLog(url, "t.log")).toEqual({ partitions: null, isUsed: false, others: [] });
    const decided = await Promise.all([4, 6, 8].map((each) => decidePartitions(url, "t.log", each)));
    expect(new Set(decided).size).toBe(1);
    expect(await recordedLog(url, "t.log")).toEqual({ partitions: decided[0] as number, isUsed: false, others: [] });
    await recordPartitions(url, "t.log", 12);
    expect(await decidePartitions(url, "t.log", 4)).toBe(12);
    expect(await decidePartitions(url, "other.log", 4)).toBe(4);
    await ask("INSERT INTO partitions (number, position, topic) VALUES (3, 7, 't.log 8a0e'), (4, 7, 'tXlog')");
    expect(await recordedLog(url, "t.log")).toEqual({ partitions: 12, isUsed: true, others: ["other.log"] });
    expect(await recordedLog(url, "other.log")).toEqual({ partitions: 4, isUsed: false, others: ["t.log"] });
  });

  test("what the server's own settings say does not matter", async () => {
    const connection = await LedgerConnection.open(url, PATIENT);
    const variables = await connection.ask("SELECT @@sql_mode, @@time_zone, @@collation_connection, 9007199254740991");
    connection.close();
    expect(String(variables[0]?.[0])).toContain("STRICT_ALL_TABLES");
    expect(variables[0]?.slice(1)).toEqual(["+00:00", "utf8mb4_bin", Number.MAX_SAFE_INTEGER]);
  });

  test("a server that is away, or lets nobody in, is an error of the outside", async () => {
    const wrong = new URL(url);
    wrong.password = "wrong";
    const nowhere = new URL(url);
    nowhere.pathname = "/there_is_none";
    const closed = new URL(url);
    closed.port = "1";
    for (const to of [wrong, nowhere, closed]) {
      expect(await outcome(prepareLedger(to.href))).toBeInstanceOf(LedgerUnavailable);
    }
  });
});
