import { Database } from "bun:sqlite";
import type { Renamed, StoredFrame } from "../ports/steps.ts";
import { type CheckedSteps, checkSteps, correctionsOf, type HistoryRow, type KeptSteps } from "../rankings/check.ts";
import { openWriting } from "./ledger.ts";

const HISTORY = `
  SELECT metric, subject, at, amount FROM history WHERE at = 0 OR at >= ?1
  UNION ALL SELECT metric, subject, at, amount FROM deltas WHERE at > 0 AND at >= ?1`;

/** In one snapshot, also beside a running server. */
export async function checkKeptSteps(path: string, nowMs: number): Promise<CheckedSteps> {
  const db = new Database(path, { readonly: true });
  try {
    db.run("PRAGMA busy_timeout = 5000");
    db.run("BEGIN");
    return await checkSteps(keptIn(db), nowMs);
  } finally {
    db.close(true);
  }
}

/** Takes away what cannot be read, and adds to the steps what they lack; a ranker that runs has to begin anew to know of it. */
export function repairSteps(path: string, { broken, differences }: CheckedSteps): void {
  const db = openWriting(path);
  try {
    const remove = {
      steps: db.query<never, [number]>("DELETE FROM steps WHERE id = ?"),
      changes: db.query<never, [number]>("DELETE FROM changes WHERE position = ?"),
    };
    const add = db.query<never, [number, Uint8Array]>("INSERT INTO steps (at, is_hour, frame) VALUES (?, 0, ?)");
    db.transaction(() => {
      for (const { table, id } of broken) remove[table].run(id);
      for (const { at, frame } of correctionsOf(differences)) add.run(at, frame);
    }).immediate();
  } finally {
    db.close(true);
  }
}

function keptIn(db: Database): KeptSteps {
  return {
    renamed() {
      return db.query<Renamed, []>("SELECT subject, becomes, up_to AS upTo FROM step_subjects ORDER BY id").all();
    },
    changes(visit) {
      const rows = db.query<StoredFrame, []>("SELECT position AS id, frame FROM changes ORDER BY position");
      for (const { id, frame } of rows.iterate()) visit({ id, frame: Buffer.from(frame) });
    },
    steps(from, visit) {
      const rows = db.query<StoredFrame, [number]>("SELECT id, frame FROM steps WHERE at >= ? ORDER BY id");
      for (const { id, frame } of rows.iterate(from)) visit({ id, frame: Buffer.from(frame) });
    },
    history(from, visit) {
      for (const row of db.query<HistoryRow, [number]>(HISTORY).iterate(from)) visit(row);
    },
  };
}
