import { Database } from "bun:sqlite";
import { Garbage } from "../lib/garbage.ts";
import { type FilterShare, Filters } from "./filters.ts";
import { KeptBits } from "./kept-filters.ts";

/** Something that the ledger has and a complete filter says was never. `isLast`: no more of this filter are looked for. */
export type FilterDifference =
  | {
      what: "filter";
      copy: "memory" | "ledger";
      segment: number;
      metric: number;
      subject: string;
      actor: string;
      isLast: boolean;
    }
  | { what: "counts' filter"; metric: number; subject: string; isLast: boolean };

/** So many of one filter are named: all rows may be missing. */
const NAMED_MAX = 100;
/** Rows of one snapshot. */
const PAGE_ROWS = 10_000;
const COLLECT_EVERY = 50_000;

interface CountRow {
  segment: number;
  subject: string;
  metric: number;
}

interface RegisterRow {
  actor: string;
  subject: string;
  metric: number;
}

/**
 * Rows against the filters that are to know them, also beside a running server: whatever a reader can see in the ledger went
 * into its filter before its commit, so each page may be a snapshot of its own, and nothing has to be looked at twice.
 *
 * What is kept in the ledger for the next start is of segments that were closed, to which no row comes any more.
 */
export class FilterCheck {
  /** Rows that were asked for. */
  rows = 0;
  readonly #db: Database;
  readonly #filters: Filters;
  readonly #sql: ReturnType<typeof prepare>;
  readonly #garbage = new Garbage(COLLECT_EVERY);

  constructor(path: string, share: FilterShare) {
    this.#db = new Database(path, { readonly: true });
    this.#db.run("PRAGMA busy_timeout = 5000");
    this.#filters = new Filters(share);
    this.#sql = prepare(this.#db);
  }

  /** Says each as it is found. */
  *run(): Generator<FilterDifference> {
    try {
      const kept = new KeptBits(this.#db, this.#filters.seed);
      for (const { segment } of this.#sql.segments.all()) yield* this.#registers(segment, kept.of(segment));
      yield* this.#counts();
    } catch (error) {
      // A ledger so damaged that SQLite gives up is a difference of its own, which `checkLedger` names.
      if ((error as { code?: string }).code !== "SQLITE_CORRUPT") throw error;
    }
  }

  close(): void {
    this.#db.close(true);
  }

  *#registers(segment: number, kept: readonly Int32Array[]): Generator<FilterDifference> {
    const filters = this.#filters;
    const named = { memory: 0, ledger: 0 };
    for (const { actor, subject, metric } of this.#pagesOf(segment)) {
      filters.aim(actor, subject);
      const lacks = {
        memory: filters.nextHolding(segment) !== segment,
        ledger: !kept.every((bits) => filters.isAmong(bits)),
      };
      for (const copy of ["memory", "ledger"] as const) {
        if (!lacks[copy] || named[copy] === NAMED_MAX) continue;
        const isLast = ++named[copy] === NAMED_MAX;
        yield { what: "filter", copy, segment, metric, subject, actor, isLast };
      }
    }
  }

  *#pagesOf(segment: number): Generator<RegisterRow> {
    let last: RegisterRow | undefined = { actor: "", subject: "", metric: 0 };
    while (last) {
      const page: RegisterRow[] = this.#sql.registers.all(segment, last.actor, last.subject, last.metric, PAGE_ROWS);
      yield* page;
      this.#visited(page.length);
      last = page.at(-1);
    }
  }

  /** First `deltas`, then `counts`, because rows are folded that way, never back. */
  *#counts(): Generator<FilterDifference> {
    const named = new Set<string>();
    for (const statement of [this.#sql.deltas, this.#sql.counts]) {
      let last: CountRow | undefined = { segment: -1, subject: "", metric: 0 };
      while (last) {
        const page: CountRow[] = statement.all(last.segment, last.subject, last.metric, PAGE_ROWS);
        for (const { metric, subject } of page) {
          const name = `${metric} ${subject}`;
          if (this.#filters.mayCount(metric, subject) || named.has(name) || named.size === NAMED_MAX) continue;
          named.add(name);
          yield { what: "counts' filter", metric, subject, isLast: named.size === NAMED_MAX };
        }
        this.#visited(page.length);
        last = page.at(-1);
      }
    }
  }

  #visited(rows: number): void {
    this.rows += rows;
    this.#garbage.add(rows);
  }
}

function prepare(db: Database) {
  return {
    segments: db.prepare<{ segment: number }, []>("SELECT segment FROM segments ORDER BY segment"),
    registers: db.prepare<RegisterRow, [number, string, string, number, number]>(
      `SELECT actor, subject, metric FROM relations
       WHERE segment = ? AND (actor, subject, metric) > (?, ?, ?) ORDER BY actor, subject, metric LIMIT ?`,
    ),
    deltas: db.prepare<CountRow, [number, string, number, number]>(
      `SELECT DISTINCT segment, subject, metric FROM deltas
       WHERE (segment, subject, metric) > (?, ?, ?) ORDER BY segment, subject, metric LIMIT ?`,
    ),
    counts: db.prepare<CountRow, [number, string, number, number]>(
      `SELECT ?1 AS segment, subject, metric FROM counts
       WHERE (subject, metric) > (?2, ?3) ORDER BY subject, metric LIMIT ?4`,
    ),
  };
}
