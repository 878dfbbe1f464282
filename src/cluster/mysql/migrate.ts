import { createHash } from "node:crypto";
import ledgerSql from "../../../drizzle/mysql/0000_ledger.sql" with { type: "text" };
import relationHistorySql from "../../../drizzle/mysql/0001_relation_history.sql" with { type: "text" };
import milestonesSql from "../../../drizzle/mysql/0002_milestones.sql" with { type: "text" };
import sketchesSql from "../../../drizzle/mysql/0003_sketches.sql" with { type: "text" };
import rankingsSql from "../../../drizzle/mysql/0004_rankings.sql" with { type: "text" };
import floorsSql from "../../../drizzle/mysql/0005_floors.sql" with { type: "text" };
import logsSql from "../../../drizzle/mysql/0006_logs.sql" with { type: "text" };
import retiredSql from "../../../drizzle/mysql/0007_retired.sql" with { type: "text" };
import longerTopicsSql from "../../../drizzle/mysql/0008_longer_topics.sql" with { type: "text" };
import spoolsSql from "../../../drizzle/mysql/0009_spools.sql" with { type: "text" };
import retiredByTimeSql from "../../../drizzle/mysql/0010_retired_by_time.sql" with { type: "text" };
import changesInOrderSql from "../../../drizzle/mysql/0011_changes_in_order.sql" with { type: "text" };
import unseenSql from "../../../drizzle/mysql/0012_unseen.sql" with { type: "text" };
import journal from "../../../drizzle/mysql/meta/_journal.json" with { type: "json" };
import { EXIT, StartError } from "../../errors.ts";
import type { LedgerConnection } from "./connection.ts";
import { hexSql, lockSql, wholeSql } from "./sql.ts";

/** The SQL of drizzle/mysql/, by the tag in its journal. Imported as text, so that the executable carries it. */
const SQL_BY_TAG: Record<string, string> = {
  "0000_ledger": ledgerSql,
  "0001_relation_history": relationHistorySql,
  "0002_milestones": milestonesSql,
  "0003_sketches": sketchesSql,
  "0004_rankings": rankingsSql,
  "0005_floors": floorsSql,
  "0006_logs": logsSql,
  "0007_retired": retiredSql,
  "0008_longer_topics": longerTopicsSql,
  "0009_spools": spoolsSql,
  "0010_retired_by_time": retiredByTimeSql,
  "0011_changes_in_order": changesInOrderSql,
  "0012_unseen": unseenSql,
};

/** One statement of one migration. A server commits each by itself, so each is in the book by itself. */
interface Step {
  /** When its migration was made: the order, and a newer program's mark. */
  when: number;
  tag: string;
  /** Its place in its migration. */
  place: number;
  sql: string;
}

/** For as long as an index of a large table takes another node. */
const LOCK_WAIT_S = 600;
const STATEMENT_MS_MAX = 3_600_000;
/** A table, column or key that is there already, or gone. */
const DONE_BEFORE: ReadonlySet<number> = new Set([1050, 1060, 1061, 1091]);

export function steps(): Step[] {
  return journal.entries.flatMap(({ tag, when }) => {
    const text = SQL_BY_TAG[tag];
    if (text === undefined) throw new Error(`migration ${tag} is in the journal but not in the executable`);
    const statements = text.split("--> statement-breakpoint").map((sql) => sql.trim());
    return statements.map((sql, place) => ({ when, tag, place, sql }));
  });
}

/**
 * Brings the schema up to date. Many nodes may do so at once: one does it, the others wait and find it done. Wherever
 * it is broken off, the next one goes on at the first statement that is not in the book. With `mayChange` false it only
 * checks.
 */
export async function migrate(
  connection: LedgerConnection,
  mayChange = true,
  all: readonly Step[] = steps(),
): Promise<void> {
  const lock = lockSql("migrate");
  if ((await missing(connection, all)).length === 0) return;
  if (!mayChange) throw new StartError("the MySQL ledger's schema is not up to date: run `tally migrate`");
  const [got] = await connection.ask(`SELECT GET_LOCK(${lock}, ${LOCK_WAIT_S})`, (LOCK_WAIT_S + 5) * 1000);
  if (got?.[0] !== 1) {
    throw new StartError("another process has been migrating the MySQL ledger for 10 minutes", EXIT.unavailable);
  }
  try {
    await connection.write(
      `CREATE TABLE IF NOT EXISTS migrations (made_at BIGINT NOT NULL, place INT NOT NULL, hash BINARY(32) NOT NULL,
       done_at BIGINT NOT NULL, PRIMARY KEY (made_at, place))`,
    );
    let mayBeDone = true;
    for (const step of await missing(connection, all)) {
      await run(connection, step, mayBeDone);
      mayBeDone = false;
    }
  } finally {
    if (connection.isOpen) await connection.ask(`SELECT RELEASE_LOCK(${lock})`);
  }
}

/** What is not in the book, in order. Throws where the book holds what this program does not know. */
async function missing(connection: LedgerConnection, all: readonly Step[]): Promise<Step[]> {
  const [book] = await connection.ask(
    "SELECT 1 FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = 'migrations'",
  );
  const rows = book ? await connection.ask("SELECT made_at, place FROM migrations") : [];
  const name = (when: unknown, place: unknown) => `${when} ${place}`;
  const known = new Set(all.map(({ when, place }) => name(when, place)));
  const done = new Set(rows.map(([when, place]) => name(when, place)));
  for (const one of done) {
    if (!known.has(one)) throw new StartError("the MySQL ledger was written by a newer version of tally than this one");
  }
  return all.filter(({ when, place }) => !done.has(name(when, place)));
}

/**
 * `mayBeDone`: the first one that is not in the book may have been run by someone who died before he wrote it there.
 */
async function run(connection: LedgerConnection, { when, tag, place, sql }: Step, mayBeDone: boolean): Promise<void> {
  try {
    await connection.write(sql, STATEMENT_MS_MAX);
  } catch (error) {
    if (!mayBeDone || !DONE_BEFORE.has((error as { errno?: number }).errno ?? 0)) {
      throw new Error(`migration ${tag}, statement ${place + 1}: ${(error as Error).message}`, { cause: error });
    }
  }
  const hash = createHash("sha256").update(sql).digest("hex");
  await connection.write(
    `INSERT INTO migrations VALUES (${wholeSql(when)}, ${wholeSql(place)}, ${hexSql(hash)}, ${wholeSql(Date.now())})`,
  );
}
