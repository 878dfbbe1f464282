import { ALL_TIME } from "../../distinct/sketches.ts";
import type { MetricKind } from "../../model.ts";
import type { ExportSource, RelationRow, TallyRow } from "../../ports/archive.ts";
import { type HourRow, type SketchRow, tallyRows } from "../../transfer/tally-rows.ts";
import { asUnavailable, LedgerConnection, PATIENT, type Row } from "./connection.ts";
import { storedMetrics } from "./metric-names.ts";
import { pagesOf } from "./read-sql.ts";
import { idOf } from "./sql.ts";

/** Sketches have up to 12 KB each. */
const PAGE_ROWS = 2_000;
/** Who reads may stop for so long; the snapshot is gone after that. */
const IDLE_S = 3_600;

/**
 * The ledger as of one moment: pages of one transaction that only reads, in the order of the tables' keys. Nobody waits for
 * it; until it is closed the server keeps what is overwritten meanwhile (its undo log grows).
 */
export class MysqlExport implements ExportSource {
  readonly metrics: readonly { name: string; kind: MetricKind }[];
  readonly #connection: LedgerConnection;
  readonly #byId: ReadonlyMap<number, { name: string; kind: MetricKind }>;

  private constructor(connection: LedgerConnection, metrics: Map<number, { name: string; kind: MetricKind }>) {
    this.#connection = connection;
    this.#byId = metrics;
    this.metrics = [...metrics.values()];
  }

  static async open(url: string): Promise<MysqlExport> {
    const connection = await LedgerConnection.open(url, { ...PATIENT, queryMs: 600_000, idleS: IDLE_S });
    try {
      await connection.write("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ");
      await connection.write("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY");
      const metrics = await storedMetrics(connection);
      return new MysqlExport(connection, new Map(metrics.map(({ id, name, kind }) => [id, { name, kind }])));
    } catch (error) {
      connection.close();
      throw asUnavailable(error);
    }
  }

  tallies(): AsyncGenerator<TallyRow> {
    return tallyRows(this.#hours(), this.#sketches());
  }

  async *#hours(): AsyncGenerator<HourRow> {
    for await (const row of this.#rows("history", ["subject", "metric", "at"], "amount")) {
      const { name: metric, kind } = this.#metric(row[1]);
      const amount = Number(row[3]);
      if (kind === "tally" && amount !== 0)
        yield { metric, subject: idOf(row[0] as Buffer), at: Number(row[2]), amount };
    }
  }

  async *#sketches(): AsyncGenerator<SketchRow> {
    for await (const row of this.#rows("sketches", ["subject", "metric", "day"], "sketch")) {
      if (Number(row[2]) !== ALL_TIME) continue;
      yield { metric: this.#metric(row[1]).name, subject: idOf(row[0] as Buffer), visitors: row[3] as Buffer };
    }
  }

  async *relations(): AsyncGenerator<RelationRow> {
    const same = new Group<RelationRow>();
    for await (const row of this.#rows("relations", ["actor", "subject", "metric"], "stamp")) {
      const [actor, subject] = [idOf(row[0] as Buffer), idOf(row[1] as Buffer)];
      const { name: metric } = this.#metric(row[2]);
      yield* same.add(`${actor}\n${subject}`, { metric, subject, actor, stamp: Number(row[3]) });
    }
    yield* same.take();
  }

  close(): void {
    this.#connection.close();
  }

  async *#rows(table: string, key: readonly string[], column: string): AsyncGenerator<Row> {
    for await (const page of pagesOf((sql) => this.#page(sql), { table, key, column }, PAGE_ROWS)) yield* page;
  }

  async #page(sql: string): Promise<Row[]> {
    try {
      return await this.#connection.ask(sql);
    } catch (error) {
      throw asUnavailable(error);
    }
  }

  #metric(id: unknown): { name: string; kind: MetricKind } {
    const metric = this.#byId.get(Number(id));
    if (!metric) throw new Error(`the ledger does not know metric ${id}`);
    return metric;
  }
}

/** Rows that differ in their metric only, by its name: numbers go by the order of configuration, which differs. */
class Group<T extends { metric: string }> {
  #name = "";
  #rows: T[] = [];

  /** Gives the group before it, where another one begins. */
  add(name: string, row: T): T[] {
    const before = name === this.#name ? [] : this.take();
    this.#name = name;
    this.#rows.push(row);
    return before;
  }

  take(): T[] {
    const rows = this.#rows.sort((a, b) => (a.metric < b.metric ? -1 : 1));
    this.#rows = [];
    return rows;
  }
}
