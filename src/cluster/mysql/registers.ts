import { isActive } from "../../arithmetic/stamp.ts";
import type { RegisterChange } from "../../ports/ledger.ts";
import { isDuplicate, type LedgerConnection } from "./connection.ts";
import { idOf, idSql, rowsSql, wholeSql } from "./sql.ts";

/** Rows of one INSERT: with 250 a row cost a tenth more, with 4,000 no less. */
const INSERT_ROWS = 1_000;
/** Below 1,000, from where on MariaDB makes a table of an IN list. */
const LOOK_ROWS = 500;
/** After an INSERT that met a stored row, so many chunks at most are looked up before the next one is tried without. */
const CAUTION_MAX = 64;

/**
 * Stores registers and says what was there before. Its caller holds the locks of their shards, so no row of them
 * changes between the look and the write.
 *
 * Nearly every like is the actor's first one of that subject: so a chunk of active stamps is inserted as if none was
 * stored, and only where the server finds one (it takes the whole statement back) are the stored stamps read. Without
 * that look a like costs both sides together 15 µs of processor instead of 19. Where repeats are common, the tries
 * become rare.
 */
export class RegisterStore {
  #caution = 0;
  #cautious = 0;

  /**
   * The stamps before, in the order of the changes, 0 where there was none. The changes are sorted and each is another
   * register.
   */
  async store(connection: LedgerConnection, changes: readonly RegisterChange[]): Promise<Float64Array> {
    const before = new Float64Array(changes.length);
    const known: number[] = [];
    const fresh: number[] = [];
    for (let i = 0; i < changes.length; i++) (isActive((changes[i] as RegisterChange).stamp) ? fresh : known).push(i);
    const text = (from: number) => {
      if (this.#cautious > 0 || from >= fresh.length) return "";
      return insertSql(changes, fresh.slice(from, from + INSERT_ROWS));
    };
    for (let from = 0, sql = text(0); from < fresh.length; from += INSERT_ROWS) {
      const inserted = sql === "" ? this.#leave() : this.#insert(connection, sql);
      sql = text(from + INSERT_ROWS); // while the server works
      if (!(await inserted)) known.push(...fresh.slice(from, from + INSERT_ROWS));
    }
    known.sort((a, b) => a - b);
    for (let from = 0; from < known.length; from += LOOK_ROWS) {
      const chunk = known.slice(from, from + LOOK_ROWS);
      await look(connection, changes, chunk, before);
      const winners = chunk.filter((i) => (changes[i] as RegisterChange).stamp > (before[i] as number));
      if (winners.length > 0) await upsert(connection, changes, winners);
    }
    return before;
  }

  /** A chunk that is not tried. */
  #leave(): false {
    if (this.#cautious > 0) this.#cautious--;
    return false;
  }

  async #insert(connection: LedgerConnection, sql: string): Promise<boolean> {
    try {
      await connection.write(sql);
    } catch (error) {
      if (!isDuplicate(error)) throw error;
      this.#caution = Math.min(Math.max(1, this.#caution * 2), CAUTION_MAX);
      this.#cautious = this.#caution;
      return false;
    }
    this.#caution = 0;
    return true;
  }
}

/** The stored stamps of `chunk` of the changes go into `before`. */
export async function look(
  connection: LedgerConnection,
  changes: readonly RegisterChange[],
  chunk: readonly number[],
  before: Float64Array,
): Promise<void> {
  const row = (i: number) => registerSql(changes[i] as RegisterChange);
  const rows = await connection.ask(
    `SELECT actor, subject, metric, stamp FROM relations FORCE INDEX (PRIMARY)
     WHERE ${REGISTER} IN (${rowsSql(chunk, row)})`,
  );
  if (rows.length === 0) return;
  const stored = new Map<string, number>();
  for (const [actor, subject, metric, stamp] of rows) {
    stored.set(`${metric} ${idOf(subject as Buffer)}\n${idOf(actor as Buffer)}`, Number(stamp));
  }
  for (const i of chunk) {
    const { metric, subject, actor } = changes[i] as RegisterChange;
    before[i] = stored.get(`${metric} ${subject}\n${actor}`) ?? 0;
  }
}

/** `VALUES()` is what both servers understand; the condition is the register's rule once more. */
async function upsert(
  connection: LedgerConnection,
  changes: readonly RegisterChange[],
  chunk: number[],
): Promise<void> {
  await connection.write(`${insertSql(changes, chunk)} ON DUPLICATE KEY UPDATE stamp = GREATEST(stamp, VALUES(stamp))`);
}

function insertSql(changes: readonly RegisterChange[], chunk: readonly number[]): string {
  const row = (i: number) => {
    const { actor, subject, metric, stamp } = changes[i] as RegisterChange;
    return `(${idSql(actor)},${idSql(subject)},${wholeSql(metric)},${wholeSql(stamp)})`;
  };
  return `INSERT INTO relations (actor, subject, metric, stamp) VALUES ${rowsSql(chunk, row)}`;
}

/**
 * The key, in its order; always with FORCE INDEX (PRIMARY), as the servers take an index by the actor alone for
 * shorter.
 */
export const REGISTER = "(actor, subject, metric)";

export function registerSql({ actor, subject, metric }: { actor: string; subject: string; metric: number }): string {
  return `(${idSql(actor)},${idSql(subject)},${wholeSql(metric)})`;
}
