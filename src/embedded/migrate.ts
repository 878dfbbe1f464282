import type { Database } from "bun:sqlite";
import { createHash } from "node:crypto";
import ledgerSql from "../../drizzle/sqlite/0000_ledger.sql" with { type: "text" };
import relationHistorySql from "../../drizzle/sqlite/0001_relation_history.sql" with { type: "text" };
import floorsSql from "../../drizzle/sqlite/0002_floors.sql" with { type: "text" };
import sketchesSql from "../../drizzle/sqlite/0003_sketches.sql" with { type: "text" };
import milestonesSql from "../../drizzle/sqlite/0004_milestones.sql" with { type: "text" };
import rankingsSql from "../../drizzle/sqlite/0005_rankings.sql" with { type: "text" };
import journal from "../../drizzle/sqlite/meta/_journal.json" with { type: "json" };
import { StartError } from "../errors.ts";

/** The SQL of drizzle/sqlite/, by the tag in its journal. Imported as text, so that the executable carries it. */
const SQL_BY_TAG: Record<string, string> = {
  "0000_ledger": ledgerSql,
  "0001_relation_history": relationHistorySql,
  "0002_floors": floorsSql,
  "0003_sketches": sketchesSql,
  "0004_milestones": milestonesSql,
  "0005_rankings": rankingsSql,
};

/**
 * Brings the schema up to date, in one transaction, and keeps the same book as drizzle's own migrator (which only reads
 * folders). With `mayChange` false it only checks. Throws StartError where that does not do.
 */
export function migrate(db: Database, mayChange = true): void {
  const applied = lastApplied(db);
  const newest = journal.entries.at(-1)?.when ?? 0;
  if (applied > newest) throw new StartError("the ledger was written by a newer version of tally than this one");
  if (applied === newest) return;
  if (!mayChange) throw new StartError("the ledger's schema is not up to date: run `tally migrate`");
  db.transaction(() => {
    db.run(
      "CREATE TABLE IF NOT EXISTS __drizzle_migrations (id SERIAL PRIMARY KEY, hash text NOT NULL, created_at numeric)",
    );
    const after = lastApplied(db);
    for (const { tag, when } of journal.entries) {
      if (when <= after) continue;
      const text = SQL_BY_TAG[tag];
      if (text === undefined) throw new Error(`migration ${tag} is in the journal but not in the executable`);
      for (const statement of text.split("--> statement-breakpoint")) db.run(statement);
      db.query("INSERT INTO __drizzle_migrations (hash, created_at) VALUES (?, ?)").run(
        createHash("sha256").update(text).digest("hex"),
        when,
      );
    }
  }).immediate();
}

function lastApplied(db: Database): number {
  const table = db.query("SELECT 1 FROM sqlite_schema WHERE name = '__drizzle_migrations'").get();
  if (!table) return 0;
  const row = db.query<{ last: number | null }, []>("SELECT max(created_at) AS last FROM __drizzle_migrations").get();
  return Number(row?.last ?? 0);
}
