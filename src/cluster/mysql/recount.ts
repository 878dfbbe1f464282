import { shardOf } from "../../arithmetic/shard-of.ts";
import type { MetricKind } from "../../model.ts";
import { asUnavailable, isLock, LedgerConnection, PATIENT, type Row } from "./connection.ts";
import { idOf, idSql, wholeSql } from "./sql.ts";

/** A count, or a relation's history, that contradicts the rows. `expected` is what a recount says. */
export interface CountDifference {
  what: "count" | "history";
  metric: number;
  subject: string;
  kind: MetricKind;
  expected: number;
  found: number;
  mended: boolean;
}

interface RecountOptions {
  /** Mends each difference as it is found. */
  repair?: boolean;
  /** For tests: rows of each table in one snapshot, about. */
  rows?: number;
}

/** A page's snapshot stays open for a second or so: no writer waits for it, and no undo log grows. */
const PAGE_ROWS = 50_000;
const LOCK_TRIES = 5;

const TABLES = ["counts", "relations FORCE INDEX (relations_by_subject)", "history"];

/**
 * Recounts everything beside whatever is written meanwhile: subjects in their order, a page of them in one snapshot, so
 * that counts and what they are made from are of the same version. Memory stays bounded by a page. Returns how many
 * counts there are.
 */
export async function* recount(
  url: string,
  { repair = false, rows = PAGE_ROWS }: RecountOptions = {},
): AsyncGenerator<CountDifference, number> {
  const connection = await LedgerConnection.open(url, { ...PATIENT, queryMs: 600_000, idleS: 600 });
  try {
    const kinds = new Map<number, MetricKind>();
    for (const [id, kind] of await connection.ask("SELECT id, kind FROM metrics")) {
      kinds.set(Number(id), String(kind) as MetricKind);
    }
    let counted = 0;
    for (let after: string | null = ""; after !== null; ) {
      const page: Page = await readPage(connection, after, rows);
      counted += page.counts.size;
      for (const { metric, subject, stored, active, steps } of page.counts.values()) {
        // Of a metric that has lost its row it is told by what it has.
        const kind = kinds.get(metric) ?? (active > 0 ? "relation" : "tally");
        const expected = kind === "relation" ? active : steps;
        const isHistory = kind === "relation" && steps !== active;
        if (stored === expected && !isHistory) continue;
        // It may have been mended or changed since; what is stored is counted again under the shard's lock.
        const mended = repair && (await mend(connection, metric, subject, kind));
        const difference = { metric, subject, kind, expected, mended };
        if (stored !== expected) yield { what: "count", ...difference, found: stored };
        if (isHistory) yield { what: "history", ...difference, found: steps };
      }
      after = page.end;
    }
    return counted;
  } catch (error) {
    throw asUnavailable(error);
  } finally {
    connection.close();
  }
}

interface Page {
  /** Its last subject, null where there are no more. */
  end: string | null;
  counts: Map<string, { metric: number; subject: string; stored: number; active: number; steps: number }>;
}

async function readPage(connection: LedgerConnection, after: string, rows: number): Promise<Page> {
  await connection.write("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ");
  await connection.write("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY");
  const end = await endOfPage(connection, after, rows);
  const range = `subject > ${idSql(after)}${end === null ? "" : ` AND subject <= ${idSql(end)}`}`;
  const counts: Page["counts"] = new Map();
  const add = (row: Row, to: "stored" | "active" | "steps") => {
    const subject = idOf(row[0] as Buffer);
    const metric = Number(row[1]);
    const name = `${metric} ${subject}`;
    let count = counts.get(name);
    if (!count) {
      count = { metric, subject, stored: 0, active: 0, steps: 0 };
      counts.set(name, count);
    }
    count[to] += Number(row[2]);
  };
  for (const row of await connection.ask(`SELECT subject, metric, count FROM counts WHERE ${range}`))
    add(row, "stored");
  const made = [
    [`count(*) FROM ${TABLES[1]} WHERE active = 1 AND`, "active"],
    ["sum(amount) FROM history WHERE", "steps"],
  ] as const;
  for (const [sum, to] of made) {
    const sql = `SELECT subject, metric, ${sum} ${range} GROUP BY subject, metric`;
    for (const row of await connection.ask(sql)) add(row, to);
  }
  await connection.write("COMMIT");
  return { end, counts };
}

/** The first subject at which one of the tables has had so many rows: it is whole, however many it has itself. */
async function endOfPage(connection: LedgerConnection, after: string, rows: number): Promise<string | null> {
  let end: Buffer | null = null;
  for (const table of TABLES) {
    const [row] = await connection.ask(
      `SELECT subject FROM ${table} WHERE subject > ${idSql(after)}
       ORDER BY subject LIMIT 1 OFFSET ${wholeSql(rows - 1)}`,
    );
    const subject = row?.[0] as Buffer | undefined;
    // As the tables order them: by bytes.
    if (subject && (end === null || Buffer.compare(subject, end) < 0)) end = subject;
  }
  return end === null ? null : idOf(end);
}

/**
 * Stores what a recount says; the shard's version rises, so that no copy keeps what it had. False: there was nothing to
 * mend.
 */
async function mend(connection: LedgerConnection, metric: number, subject: string, kind: MetricKind): Promise<boolean> {
  const of = `subject = ${idSql(subject)} AND metric = ${wholeSql(metric)}`;
  const shard = wholeSql(shardOf(subject));
  for (let tries = 1; ; tries++) {
    try {
      await connection.write("BEGIN");
      await connection.ask(`SELECT version FROM shards WHERE shard = ${shard} FOR UPDATE`);
      const [row] = await connection.ask(
        `SELECT (SELECT count(*) FROM ${TABLES[1]} WHERE ${of} AND active = 1),
                (SELECT COALESCE(sum(amount), 0) FROM history WHERE ${of}),
                (SELECT count FROM counts WHERE ${of})`,
      );
      const [active, steps] = [Number(row?.[0]), Number(row?.[1])];
      const expected = wholeSql(kind === "relation" ? active : Math.max(0, steps));
      // When a relation changed the rows do not say: what its history lacks goes before all hours.
      if (kind === "relation" && steps !== active) {
        await connection.write(
          `INSERT INTO history (subject, metric, at, amount)
           VALUES (${idSql(subject)}, ${wholeSql(metric)}, 0, ${wholeSql(active - steps)})
           ON DUPLICATE KEY UPDATE amount = amount + VALUES(amount)`,
        );
      }
      if (Number(row?.[2] ?? 0) !== Number(expected)) {
        await connection.write(
          `INSERT INTO counts (subject, metric, count) VALUES (${idSql(subject)}, ${wholeSql(metric)}, ${expected})
           ON DUPLICATE KEY UPDATE count = VALUES(count)`,
        );
        await connection.write(`UPDATE shards SET version = version + 1 WHERE shard = ${shard}`);
      }
      await connection.write("COMMIT");
      return true;
    } catch (error) {
      if (connection.isOpen) await connection.write("ROLLBACK");
      if (!isLock(error) || tries === LOCK_TRIES) throw error;
    }
  }
}
