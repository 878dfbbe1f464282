import { Database } from "bun:sqlite";
import { compareBytes } from "../arithmetic/place.ts";
import type { MetricKind } from "../model.ts";
import type { ExportSource, RelationRow, TallyRow } from "../ports/archive.ts";

const CACHE_KIB = 16 * 1024;
const BUSY_MS = 5_000;

/** Hours of tallies, folded or not. */
const TALLIES = `
  SELECT subject, metric, at, sum(amount) AS amount FROM (
    SELECT subject, metric, at, amount FROM history
    UNION ALL
    SELECT subject, metric, at, amount FROM deltas
  ) WHERE metric IN (SELECT id FROM metrics WHERE kind = 'tally')
  GROUP BY subject, metric, at HAVING sum(amount) <> 0 ORDER BY subject, metric, at`;
const SKETCHES = "SELECT subject, metric, sketch FROM sketches WHERE day = 0 ORDER BY subject, metric";
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

  *tallies(): Generator<TallyRow> {
    for (const rows of this.#tallySubjects()) yield* rows.sort(byMetric);
  }

  /** Subjects with hours and subjects with sketches, both in the order of their bytes, as one. */
  *#tallySubjects(): Generator<TallyRow[]> {
    const sketches = this.#db.query<SketchRow, []>(SKETCHES).iterate();
    let sketch = sketches.next();
    /** The sketches of all subjects up to this one: those of none of its rows become rows. */
    const upTo = (subject: string | null, rows: TallyRow[]): TallyRow[] => {
      const before: TallyRow[] = [];
      for (; !sketch.done; sketch = sketches.next()) {
        const { value } = sketch;
        const order = subject === null ? -1 : compareBytes(value.subject, subject);
        if (order > 0) break;
        const metric = this.#name(value.metric);
        const row = order === 0 ? rows.find((each) => each.metric === metric) : undefined;
        if (row) row.visitors = value.sketch;
        else if (order === 0) rows.push({ metric, subject: value.subject, steps: [], visitors: value.sketch });
        else before.push({ metric, subject: value.subject, steps: [], visitors: value.sketch });
      }
      return before;
    };
    for (const rows of this.#hours()) {
      yield* bySubject(upTo(rows[0]?.subject ?? null, rows));
      yield rows;
    }
    yield* bySubject(upTo(null, []));
  }

  /** The hours of one subject after the other. */
  *#hours(): Generator<TallyRow[]> {
    let rows: TallyRow[] = [];
    for (const { at, amount, ...row } of this.#db.query<HourRow, []>(TALLIES).iterate()) {
      const metric = this.#name(row.metric);
      const last = rows.at(-1);
      if (last?.subject === row.subject && last.metric === metric) {
        last.steps.push([at, amount]);
        continue;
      }
      if (last && last.subject !== row.subject) {
        yield rows;
        rows = [];
      }
      rows.push({ metric, subject: row.subject, steps: [[at, amount]] });
    }
    if (rows.length > 0) yield rows;
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

  /** Numbers go by the order in which metrics were configured, which differs from ledger to ledger. */
  #name(metric: number): string {
    return this.#names.get(metric) ?? `metric_${metric}`;
  }
}

type HourRow = { subject: string; metric: number; at: number; amount: number };
type SketchRow = { subject: string; metric: number; sketch: Uint8Array };

/** Neighbours of one subject together. */
function bySubject(rows: TallyRow[]): TallyRow[][] {
  const groups: TallyRow[][] = [];
  for (const row of rows) {
    const last = groups.at(-1);
    if (last?.[0]?.subject === row.subject) last.push(row);
    else groups.push([row]);
  }
  return groups;
}

function byMetric(a: { metric: string }, b: { metric: string }): number {
  return a.metric < b.metric ? -1 : 1;
}
