import { expect, test } from "bun:test";
import { stampAt } from "../../src/arithmetic/stamp.ts";
import { LedgerConnection, PATIENT, type Written } from "../../src/cluster/mysql/connection.ts";
import { MysqlLedgerWriter } from "../../src/cluster/mysql/ledger.ts";
import { recount } from "../../src/cluster/mysql/recount.ts";
import type { LogRecord } from "../../src/records.ts";
import { LIKES, like, message, NOW_MS, OwnMysql, subjectIn, TOPIC, VIEWS, view } from "./mysql-support.ts";

const mysql = new OwnMysql();

const FROM = subjectIn(3);
const TO = subjectIn(5);
const MERGE: LogRecord = { kind: "merge", shard: 3, n: 1, metric: 0, subject: FROM, to: TO, once: undefined };
/** More than two slices, and of what is inactive more than one. */
const ACTIVE = 21_000;
const INACTIVE = 11_000;
/** Who likes both; at `FROM` earlier or later than at `TO`. */
const BOTH = 2_000;
/** Of a slice; the server counts a row that it updates twice. */
const ROWS_MAX = 20_000;
const HOUR_MS = 3_600_000;
const SPREAD_MS = 7_000;

const atFrom = (i: number) => NOW_MS - i * SPREAD_MS;
const atTo = (i: number) => NOW_MS - i * SPREAD_MS + (i % 2 === 0 ? HOUR_MS : -HOUR_MS);

function likes(): LogRecord[] {
  const given = Array.from({ length: ACTIVE }, (_, i) => like(i + 1, FROM, `a${i}`, stampAt(atFrom(i), true)));
  const taken = Array.from({ length: INACTIVE }, (_, i) =>
    like(ACTIVE + i + 1, FROM, `b${i}`, stampAt(atFrom(i), false)),
  );
  return [...given, ...taken];
}

test("a merge, however many they are, takes no statement that could outlast its deadline", async () => {
  const writer = new MysqlLedgerWriter(mysql.url);
  await writer.apply([message(0, "n", ...likes())], TOPIC);
  const both = Array.from({ length: BOTH }, (_, i) => like(i + 1, TO, `a${i}`, stampAt(atTo(i), true)));
  await writer.apply([message(0, "n", ...both)], TOPIC);
  let most = 0;
  const original = LedgerConnection.prototype.write;
  LedgerConnection.prototype.write = async function (sql: string, timeoutMs?: number): Promise<Written> {
    const written = await original.call(this, sql, timeoutMs);
    most = Math.max(most, written.affectedRows);
    return written;
  };
  try {
    await writer.apply([message(1, "j", MERGE)], TOPIC);
  } finally {
    LedgerConnection.prototype.write = original;
    await writer.close();
  }
  expect(most).toBeLessThanOrEqual(ROWS_MAX);
  expect([await mysql.reader.count(LIKES, FROM), await mysql.reader.count(LIKES, TO)]).toEqual([0, ACTIVE]);
  for (const [i, at] of [atTo(0), atFrom(1), atTo(BOTH - 2), atFrom(BOTH - 1), atFrom(BOTH)].entries()) {
    const actor = ["a0", "a1", `a${BOTH - 2}`, `a${BOTH - 1}`, `a${BOTH}`][i] as string;
    expect(await mysql.reader.register(LIKES, TO, actor)).toBe(stampAt(at, true));
    expect(await mysql.reader.register(LIKES, FROM, actor)).toBe(0);
  }
  expect(await mysql.reader.register(LIKES, TO, "b0")).toBe(0);
  const hours = new Map<number, number>();
  for (let i = 0; i < ACTIVE; i++) {
    const at = Math.floor((i < BOTH ? Math.max(atFrom(i), atTo(i)) : atFrom(i)) / HOUR_MS) * 3_600;
    hours.set(at, (hours.get(at) ?? 0) + 1);
  }
  const history = await mysql.reader.history(LIKES, TO, 0, Math.floor(NOW_MS / 1000) + 24 * 3_600);
  expect(history).toEqual([...hours].sort(([a], [b]) => a - b));
  for await (const difference of recount(mysql.url)) expect(difference).toBeNull();
}, 60_000);

test("what another projector's tidying puts together meanwhile does not stay behind", async () => {
  const writer = new MysqlLedgerWriter(mysql.url);
  await writer.apply([message(0, "n", view(1, FROM, 5))], TOPIC);
  const other = await LedgerConnection.open(mysql.url, PATIENT, false);
  const of = `subject = '${FROM}' AND metric = ${VIEWS}`;
  await other.ask(`SELECT amount FROM history WHERE ${of} FOR UPDATE`);
  const merged = writer.apply([message(1, "j", MERGE)], TOPIC);
  const look = await LedgerConnection.open(mysql.url, PATIENT);
  const waiting = `SELECT 1 FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'
    AND trx_mysql_thread_id IN (SELECT id FROM information_schema.processlist WHERE db = DATABASE())`;
  // The server shows what it saw when nobody had looked for a tenth of a second.
  while ((await look.ask(waiting)).length === 0) await Bun.sleep(150);
  await other.write(`INSERT INTO history (subject, metric, at, amount) VALUES ('${FROM}', ${VIEWS}, 0, 5)`);
  await other.write(`DELETE FROM history WHERE ${of} AND at = ${NOW_MS / 1000}`);
  await other.write("COMMIT");
  await merged;
  expect(await look.ask(`SELECT at, amount FROM history WHERE ${of}`)).toEqual([]);
  expect(await mysql.reader.count(VIEWS, TO)).toBe(5);
  for await (const difference of recount(mysql.url)) expect(difference).toBeNull();
  for (const connection of [other, look]) connection.close();
  await writer.close();
}, 30_000);
