import { DAY_S, dayOf } from "../../arithmetic/days.ts";
import type { LedgerConnection } from "./connection.ts";
import { idOf, idSql, rowsSql, wholeSql } from "./sql.ts";

/** Rows that a slice looks at, and of these it folds at most. A slice a minute is through a hundred million rows in 33 hours. */
const LOOK_ROWS = 50_000;
const FOLD_ROWS = 2_000;
/** Below 1,000, from where on MariaDB makes a table of an IN list. */
const IN_ROWS = 500;

interface Old {
  subject: string;
  metric: number;
  at: number;
  amount: number;
}

/**
 * Hours that are older than the history is kept go into one row before all of them, so that a count stays the sum of its
 * history. It walks the table round and round, as no index has the rows by their time. Several may do so at once: rows are
 * locked, and only those that were seen are removed.
 */
export class OldHistory {
  readonly #days: number;
  #after = "";

  constructor(days: number) {
    this.#days = days;
  }

  /** A slice, in the transaction that its caller ends. */
  async step(connection: LedgerConnection, nowMs: number): Promise<void> {
    const before = (dayOf(nowMs) - this.#days) * DAY_S;
    const after = `subject > ${idSql(this.#after)}`;
    const [end] = await connection.ask(
      `SELECT subject FROM history FORCE INDEX (PRIMARY) WHERE ${after} ORDER BY subject LIMIT 1 OFFSET ${LOOK_ROWS}`,
    );
    const last = end ? idOf(end[0] as Buffer) : null;
    const range = last === null ? after : `${after} AND subject <= ${idSql(last)}`;
    const rows = await connection.ask(
      `SELECT subject, metric, at, amount FROM history FORCE INDEX (PRIMARY)
       WHERE ${range} AND at > 0 AND at < ${wholeSql(before)} LIMIT ${FOLD_ROWS} FOR UPDATE`,
    );
    const old = rows.map(([subject, metric, at, amount]) => {
      return { subject: idOf(subject as Buffer), metric: Number(metric), at: Number(at), amount: Number(amount) };
    });
    for (let from = 0; from < old.length; from += IN_ROWS) await fold(connection, old.slice(from, from + IN_ROWS));
    if (old.length < FOLD_ROWS) this.#after = last ?? "";
  }
}

async function fold(connection: LedgerConnection, old: readonly Old[]): Promise<void> {
  const key = ({ subject, metric, at }: Old) => `(${idSql(subject)},${wholeSql(metric)},${wholeSql(at)})`;
  const row = ({ subject, metric, amount }: Old) => `(${idSql(subject)},${wholeSql(metric)},0,${wholeSql(amount)})`;
  await connection.write(
    `INSERT INTO history (subject, metric, at, amount) VALUES ${rowsSql(old, row)}
     ON DUPLICATE KEY UPDATE amount = amount + VALUES(amount)`,
  );
  await connection.write(`DELETE FROM history WHERE (subject, metric, at) IN (${rowsSql(old, key)})`);
}
