import type { Place } from "../../arithmetic/place.ts";
import type { Actor } from "../../model.ts";
import type { RegisterName } from "../../ports/hot-store.ts";
import type { SourceState } from "../../ports/ledger.ts";
import type { Row } from "./connection.ts";
import { REGISTER, registerSql } from "./registers.ts";
import { idOf, idSql, ofTypeSql, rowsSql, wholeSql } from "./sql.ts";

/** Names in one statement, so that none becomes long. */
const NAMES = 500;

export function registersIn(registers: readonly RegisterName[]): string {
  return `SELECT actor, subject, metric, stamp FROM relations FORCE INDEX (PRIMARY)
    WHERE ${REGISTER} IN (${rowsSql(registers, registerSql)})`;
}

export function ofActor(metric: number, actor: Actor, type?: string): string {
  const typed = type === undefined ? "" : ` AND ${ofTypeSql(type)}`;
  return `actor = ${idSql(actor)} AND metric = ${wholeSql(metric)} AND active = 1${typed}`;
}

/** Spelt out, as two ranges of the index: of `(stamp, id) < (…)` MariaDB and MySQL make none. */
export function behind(column: "actor" | "subject", { stamp, id }: Place): string {
  const whole = wholeSql(stamp);
  return id === "" ? `stamp < ${whole}` : `(stamp < ${whole} OR (stamp = ${whole} AND ${column} < ${idSql(id)}))`;
}

export function countOf(metric: number, actor: Actor, type?: string): string {
  return `SELECT count(*) FROM relations FORCE INDEX (relations_by_actor) WHERE ${ofActor(metric, actor, type)}`;
}

export function sourceOf([source, shard, last]: Row): SourceState {
  return { source: idOf(source as Buffer), shard: Number(shard), last: Number(last) };
}

/** All of it in as many questions as it takes; each is a snapshot of its own, unless its caller holds one. */
export async function inParts<T, R>(
  items: readonly T[],
  ask: (part: readonly T[]) => Promise<readonly R[]>,
): Promise<R[]> {
  const answers: R[] = [];
  for (let from = 0; from < items.length; from += NAMES) {
    answers.push(...(await ask(items.slice(from, from + NAMES))));
  }
  return answers;
}

/** A whole table in the order of its key, page by page: rows of the key's columns, and of another one behind them. */
export async function* pagesOf(
  ask: (sql: string) => Promise<Row[]>,
  { table, key, column }: { table: string; key: readonly string[]; column: string },
  pageRows: number,
): AsyncGenerator<Row[]> {
  for (let where = ""; ; ) {
    const rows = await ask(
      `SELECT ${key.join(", ")}, ${column} FROM ${table} FORCE INDEX (PRIMARY) ${where}
       ORDER BY ${key.join(", ")} LIMIT ${pageRows}`,
    );
    yield rows;
    const end = rows.at(-1);
    if (!end || rows.length < pageRows) return;
    where = `WHERE ${afterRow(key, end)}`;
  }
}

/** Behind a row (its key's columns first) in the key's order, spelt out as ranges of the index. */
function afterRow([column, ...rest]: readonly string[], [value, ...others]: Row): string {
  if (column === undefined) return "FALSE";
  const text = Buffer.isBuffer(value) ? idSql(idOf(value)) : wholeSql(Number(value));
  if (rest.length === 0) return `${column} > ${text}`;
  return `(${column} > ${text} OR (${column} = ${text} AND ${afterRow(rest, others)}))`;
}
