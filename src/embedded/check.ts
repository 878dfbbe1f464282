import { Database } from "bun:sqlite";
import { shardOf } from "../arithmetic/shard-of.ts";
import type { MetricKind } from "../model.ts";
import { checkSketches, repairSketch, type SketchDifference } from "./check-sketches.ts";
import { openWriting } from "./ledger.ts";

/** Something in the ledger that contradicts what it was made from. `expected` is what a recount says. */
export type LedgerDifference =
  | { what: "count"; metric: number; subject: string; expected: number; found: number }
  | { what: "history"; metric: number; subject: string; expected: number; found: number }
  | { what: "register"; metric: number; subject: string; actor: string; expected: 1; found: number }
  | { what: "actor total"; metric: number; actor: string; type: string; expected: number; found: number }
  | { what: "segment"; segment: number; expected: string; found: string }
  | SketchDifference
  | { what: "file"; message: string };

/** Of a metric that has lost its row it is told by what it has. */
const KIND = "coalesce(metrics.kind, iif(sum(active) > 0, 'relation', 'tally'))";
/**
 * Counts beside what they must be: of a tally the sum of its history, of a relation the number of active rows, which the
 * sum of its history must be too.
 */
const RECOUNT = `
  SELECT subject, metric, ${KIND} AS kind, sum(stored) AS stored, sum(active) AS active, sum(steps) AS steps FROM (
    SELECT subject, metric, count AS stored, 0 AS active, 0 AS steps FROM counts
    UNION ALL
    SELECT subject, metric, amount, 0, iif(at > 0, amount, 0) FROM deltas
    UNION ALL
    SELECT subject, metric, 0, count(*), 0 FROM relations INDEXED BY relations_by_subject
      WHERE stamp & 1 GROUP BY segment, subject, metric
    UNION ALL
    SELECT subject, metric, 0, 0, amount FROM history
  ) LEFT JOIN metrics ON metrics.id = metric GROUP BY subject, metric
  HAVING iif(${KIND} = 'tally', sum(stored) <> sum(steps), sum(stored) <> sum(active) OR sum(steps) <> sum(active))`;
const ACTIVE = `(SELECT count(*) FROM segments CROSS JOIN relations INDEXED BY relations_by_subject USING (segment)
  WHERE subject = ?1 AND metric = ?2 AND stamp & 1)`;
const STEPS = "(SELECT coalesce(sum(amount), 0) FROM history WHERE subject = ?1 AND metric = ?2)";
const RECOUNT_ONE = `SELECT ${ACTIVE} AS active, ${STEPS} AS steps,
  coalesce((SELECT kind FROM metrics WHERE id = ?2), iif(${ACTIVE} > 0, 'relation', 'tally')) AS kind`;
const DOUBLE_REGISTERS = `
  SELECT metric, subject, actor, count(*) AS found FROM relations GROUP BY actor, subject, metric HAVING found > 1`;
const ACTOR_TOTALS = `
  SELECT actor, metric, type, count AS found,
         (SELECT count(*) FROM segments CROSS JOIN relations INDEXED BY relations_by_actor USING (segment)
           WHERE relations.actor = actors.actor AND relations.metric = actors.metric AND stamp & 1
             AND subject >= type || '/' AND subject < type || '0') AS expected
  FROM actors WHERE found <> expected`;
const SEGMENTS = `
  SELECT segment, coalesce(real.rows, 0) AS rows, coalesce(real.lowest, 0) AS lowest, coalesce(real.highest, 0) AS highest,
         coalesce(segments.rows, 0) AS storedRows, stamp_min AS stampMin, stamp_max AS stampMax
  FROM (SELECT segment, count(*) AS rows, min(stamp) AS lowest, max(stamp) AS highest FROM relations GROUP BY segment) real
  FULL JOIN segments USING (segment)`;

/**
 * Recounts the ledger in one snapshot, also beside a running server; memory stays bounded (SQLite sorts on disk).
 * Says each difference as it is found.
 */
export function* checkLedger(path: string): Generator<LedgerDifference> {
  const db = new Database(path, { readonly: true });
  try {
    db.run("PRAGMA busy_timeout = 5000");
    db.run("BEGIN");
    for (const row of db
      .query<{ message: string }, []>("SELECT integrity_check AS message FROM pragma_integrity_check")
      .iterate()) {
      if (row.message !== "ok") yield { what: "file", message: row.message };
    }
    type Found<What extends LedgerDifference["what"]> = Omit<Extract<LedgerDifference, { what: What }>, "what">;
    for (const row of db.query<Found<"register">, []>(DOUBLE_REGISTERS).iterate()) {
      yield { what: "register", ...row, expected: 1 };
    }
    for (const row of db.query<RecountRow, []>(RECOUNT).iterate()) yield* differencesIn(row);
    for (const row of db.query<Found<"actor total">, []>(ACTOR_TOTALS).iterate()) yield { what: "actor total", ...row };
    yield* checkSegments(db);
    yield* checkSketches(db);
  } catch (error) {
    // So damaged that SQLite gives up on a query.
    if ((error as { code?: string }).code !== "SQLITE_CORRUPT") throw error;
    yield { what: "file", message: (error as Error).message };
  } finally {
    db.close(true);
  }
}

interface RecountRow {
  subject: string;
  metric: number;
  kind: MetricKind;
  stored: number;
  active: number;
  steps: number;
}

function* differencesIn({ subject, metric, kind, stored, active, steps }: RecountRow): Generator<LedgerDifference> {
  const expected = kind === "tally" ? steps : active;
  if (stored !== expected) yield { what: "count", metric, subject, expected, found: stored };
  if (kind === "relation" && steps !== active) {
    yield { what: "history", metric, subject, expected: active, found: steps };
  }
}

interface SegmentRow {
  segment: number;
  rows: number;
  lowest: number;
  highest: number;
  storedRows: number;
  stampMin: number | null;
  stampMax: number | null;
}

function* checkSegments(db: Database): Generator<LedgerDifference> {
  for (const row of db.query<SegmentRow, []>(SEGMENTS).iterate()) {
    const { segment, rows, lowest, highest, storedRows, stampMin, stampMax } = row;
    const outside = rows > 0 && (stampMin === null || stampMax === null || lowest < stampMin || highest > stampMax);
    if (rows === storedRows && !outside) continue;
    const expected = `${rows} rows with stamps ${lowest} to ${highest}`;
    yield { what: "segment", segment, expected, found: `${storedRows} rows with stamps ${stampMin} to ${stampMax}` };
  }
}

/**
 * Mends what `checkLedger` found, in one transaction that counts again what it changes (the ledger may have moved on).
 * Every touched shard's version rises, so that no copy keeps what it had. What no recount can mend is given back.
 */
export function repairLedger(path: string, differences: Iterable<LedgerDifference>): LedgerDifference[] {
  const db = openWriting(path);
  try {
    return db
      .transaction(() => {
        const all = [...differences];
        // Rows are found through their segments, and rows that go make the segments' numbers wrong.
        for (const { segment } of all.filter((it) => it.what === "segment")) recountSegment(db, segment);
        const left = all.filter((difference) => !repair(db, difference));
        if (all.some(({ what }) => what === "register")) recountSegments(db);
        return left;
      })
      .immediate();
  } finally {
    db.close(true);
  }
}

function repair(db: Database, difference: LedgerDifference): boolean {
  switch (difference.what) {
    case "file":
      return false;
    case "sketch":
      repairSketch(db, difference);
      return true;
    case "count":
    case "history":
      recount(db, difference.subject, difference.metric);
      return true;
    case "register": {
      const { actor, subject, metric } = difference;
      // The register's value is its highest stamp, wherever that row stands.
      db.query(
        `DELETE FROM relations WHERE actor = ?1 AND subject = ?2 AND metric = ?3 AND segment IN (SELECT segment FROM segments)
         AND (stamp, segment) < (SELECT stamp, segment FROM relations WHERE segment IN (SELECT segment FROM segments)
              AND actor = ?1 AND subject = ?2 AND metric = ?3 ORDER BY stamp DESC, segment DESC LIMIT 1)`,
      ).run(actor, subject, metric);
      recount(db, subject, metric);
      return true;
    }
    case "actor total":
      db.query(
        `UPDATE actors SET count = (SELECT count(*) FROM segments CROSS JOIN relations INDEXED BY relations_by_actor
         USING (segment) WHERE relations.actor = actors.actor AND relations.metric = actors.metric AND stamp & 1
         AND subject >= type || '/' AND subject < type || '0') WHERE actor = ? AND metric = ? AND type = ?`,
      ).run(difference.actor, difference.metric, difference.type);
      return true;
    case "segment":
      return true;
  }
}

/**
 * Folds what the subject has in `deltas`, whose relations' part says nothing that the rows do not, and counts again. When a
 * relation changed the rows do not say: what its history lacks goes before all hours.
 */
function recount(db: Database, subject: string, metric: number): void {
  const addHistory = "ON CONFLICT DO UPDATE SET amount = amount + excluded.amount";
  db.query(
    `INSERT INTO history (at, subject, metric, amount)
     SELECT at, subject, metric, sum(amount) FROM deltas WHERE subject = ? AND metric = ? AND at > 0 GROUP BY at
     ${addHistory}`,
  ).run(subject, metric);
  db.query("DELETE FROM deltas WHERE subject = ? AND metric = ?").run(subject, metric);
  const row = db
    .query<Pick<RecountRow, "kind" | "active" | "steps">, [string, number]>(RECOUNT_ONE)
    .get(subject, metric);
  const { kind, active, steps } = row ?? { kind: "tally", active: 0, steps: 0 };
  db.query(
    "INSERT INTO counts (subject, metric, count) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET count = excluded.count",
  ).run(subject, metric, kind === "tally" ? Math.max(0, steps) : active);
  if (kind === "relation" && steps !== active) {
    db.query(`INSERT INTO history (at, subject, metric, amount) VALUES (0, ?, ?, ?) ${addHistory}`).run(
      subject,
      metric,
      active - steps,
    );
  }
  const shard = shardOf(subject);
  db.query("UPDATE shards SET version = version + 1 WHERE shard = ?").run(shard);
}

function recountSegment(db: Database, segment: number): void {
  db.query(
    `INSERT INTO segments (segment, capacity, rows, stamp_min, stamp_max)
     SELECT ?1, count(*), count(*), coalesce(min(stamp), 9007199254740991), coalesce(max(stamp), 0)
     FROM relations WHERE segment = ?1
     ON CONFLICT DO UPDATE SET rows = excluded.rows, stamp_min = excluded.stamp_min, stamp_max = excluded.stamp_max`,
  ).run(segment);
}

function recountSegments(db: Database): void {
  const rows = db.query<{ segment: number }, []>("SELECT segment FROM segments").all();
  for (const { segment } of rows) recountSegment(db, segment);
}
