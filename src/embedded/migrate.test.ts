import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import ledgerSql from "../../drizzle/sqlite/0000_ledger.sql" with { type: "text" };
import journal from "../../drizzle/sqlite/meta/_journal.json" with { type: "json" };
import { stampAt } from "../arithmetic/stamp.ts";
import { checkLedger } from "./check.ts";
import { prepareLedger } from "./open-ledger.ts";

const LIKES = 3;

test("a ledger of the first schema gets histories of its relations", () => {
  const folder = mkdtempSync(join(tmpdir(), "tally-migrate-"));
  const path = join(folder, "ledger.db");
  try {
    const old = new Database(path, { create: true });
    for (const statement of ledgerSql.split("--> statement-breakpoint")) old.run(statement);
    old.run("CREATE TABLE __drizzle_migrations (id SERIAL PRIMARY KEY, hash text NOT NULL, created_at numeric)");
    old.run("INSERT INTO __drizzle_migrations (hash, created_at) VALUES ('', ?)", [journal.entries[0]?.when as number]);
    old.run(`INSERT INTO metrics VALUES (${LIKES}, 'likes', 'relation')`);
    const at = (hour: number, minute: number) => Date.UTC(2026, 1, 28, hour, minute, 59, 999);
    const rows: [actor: string, stamp: number][] = [
      ["a", stampAt(at(23, 59), true)],
      ["b", stampAt(at(23, 0), true)],
      ["c", stampAt(at(24, 0), true)],
      ["d", stampAt(at(23, 30), false)],
    ];
    const stamps = rows.map(([, stamp]) => stamp);
    old.run("INSERT INTO segments VALUES (0, 125000, 4, ?, ?)", [Math.min(...stamps), Math.max(...stamps)]);
    for (const [actor, stamp] of rows) {
      old.run("INSERT INTO relations VALUES (0, ?, 'article/1', ?, ?)", [actor, LIKES, stamp]);
    }
    // Of the three two are folded already.
    old.run(`INSERT INTO counts VALUES ('article/1', ${LIKES}, 2)`);
    old.run("INSERT INTO delta_segments VALUES (0)");
    old.run(`INSERT INTO deltas VALUES (0, 'article/1', ${LIKES}, 0, 1)`);
    old.close(true);

    prepareLedger(path);
    const db = new Database(path, { readonly: true });
    const steps = db.query("SELECT at, amount FROM history ORDER BY at").values();
    db.close();
    expect(steps).toEqual([
      [Date.UTC(2026, 1, 28, 23) / 1000, 2],
      [Date.UTC(2026, 2, 1) / 1000, 1],
    ]);
    expect([...checkLedger(path)]).toEqual([]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
