import { Database } from "bun:sqlite";
import type { MetricKind } from "../model.ts";
import type { ExportSource, RelationRow, TallyRow } from "../ports/archive.ts";
import { type HourRow, type SketchRow, tallyRows } from "../transfer/tally-rows.ts";

const CACHE_KIB = 16 * 1024;
const BUSY_MS = 5_000;

/** Hours of tallies, folded or not. What stands before all hours is in the history at once, and in `deltas` for the count alone. */
const TALLIES = `
  SELECT subject, metric, at, sum(amount) AS amount FROM (
    SELECT subject, metric, at, amount FROM history
    UNION ALL
    SELECT subject, metric, at, amount FROM deltas WHERE at > 0
  ) WHERE metric IN (SELECT id FROM metrics WHERE kind = 'tally')
  GROUP BY subject, metric, at HAVING sum(amount) <> 0 ORDER BY subject, metric, at`;
const SKETCHES = "SELECT subject, metric, sketch AS visitors FROM sketches WHERE day = 0 ORDER BY subject, metric";
const RELATIONS = "SELECT actor, subject, metric, stamp FROM relations ORDER BY actor, subject, metric";

/**
 * The ledger as of one moment, for a process of its own beside the server: readers never hold up its writer. SQLite sorts on the
 * disk, in its folder for temporary files; until it is closed the ledger's WAL grows with what is written meanwhile.
 */
export class SqliteExport implements ExportSource {
  readonly metrics: readonly { name: string; kind: MetricKind }[];
  readonly #db: Database;
  readonly #names: ReadonlyMap<number, string>;

  constructor(path: string) {
    this.#db = new Database(path, { readonly: true });
    this.#db.run(`PRAGMA busy_timeout = ${BUSY_MS}`);
    this.#db.run(`PRAGMA cache_size = -${CACHE_KIB}`);
    this.#db.run("BEGIN");
    // The snapshot is that of the first read.
    const metrics = this.#db.query<{ id: number; name: string; kind: MetricKind }, []>(
      "SELECT id, name, kind FROM metrics",
    );
    const rows = metrics.all();
    this.metrics = rows.map(({ name, kind }) => ({ name, kind }));
    this.#names = new Map(rows.map(({ id, name }) => [id, name]));
  }

  tallies(): AsyncGenerator<TallyRow> {
    return tallyRows(this.#hours(), this.#sketches());
  }

  *#hours(): Generator<HourRow> {
    type Row = { subject: string; metric: number; at: number; amount: number };
    for (const row of this.#db.query<Row, []>(TALLIES).iterate()) yield { ...row, metric: this.#name(row.metric) };
  }

  *#sketches(): Generator<SketchRow> {
    type Row = { subject: string; metric: number; visitors: Uint8Array };
    for (const row of this.#db.query<Row, []>(SKETCHES).iterate()) yield { ...row, metric: this.#name(row.metric) };
  }

  *relations(): Generator<RelationRow> {
    type Row = { actor: string; subject: string; metric: number; stamp: number };
    let same: RelationRow[] = [];
    for (const row of this.#db.query<Row, []>(RELATIONS).iterate()) {
      const [first] = same;
      if (first && (first.actor !== row.actor || first.subject !== row.subject)) {
        yield* same.sort(byMetric);
        same = [];
      }
      same.push({ ...row, metric: this.#name(row.metric) });
    }
    yield* same.sort(byMetric);
  }

  close(): void {
    this.#db.close();
  }

  #name(metric: number): string {
    return this.#names.get(metric) ?? `metric_${metric}`;
  }
}

function byMetric(a: { metric: string }, b: { metric: string }): number {
  return a.metric < b.metric ? -1 : 1;
}
