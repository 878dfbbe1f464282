import type { Database } from "bun:sqlite";
import { isActive, type Stamp } from "../arithmetic/stamp.ts";
import { actorHash } from "../local/actor-hash.ts";
import type { RegisterChange } from "../ports/ledger.ts";
import type { EraseRecord, JobRecord, MergeRecord } from "../records.ts";
import type { Deltas } from "./deltas.ts";
import type { Filters } from "./filters.ts";
import type { Segments } from "./segments.ts";

/** What the jobs need of the batch they are at the end of. */
interface JobParts {
  filters: Filters;
  segments: Segments;
  deltas: Deltas;
  /**
   * Takes registers in; of two active ones the higher stamp stays, and an active one stays above an inactive one. The history
   * they come with is moved for itself: only the lower of two active ones goes from its hour.
   */
  unite(changes: RegisterChange[]): void;
  /** An active register goes from its count, and from the hour it stands in. */
  uncount(register: { metric: number; subject: string; stamp: Stamp }): void;
  /** Whether any actor has totals; the register goes from those of its actor. */
  hasTotals(): boolean;
  leaveTotal(register: { metric: number; subject: string; actor: string }): void;
  /** All of the actor's registers have gone: there are no totals to be kept any more. */
  forgetTotals(actor: string): void;
  /** What was changed of a subject is another one's, or (empty) nobody's. */
  becomes(subject: string, other: string): void;
}

/** Rows that move at once: some 10 MB of JavaScript objects. */
const PAGE_ROWS = 20_000;

/**
 * Erasures and merges, in the transaction of the batch that ends with them: everything before them in the log is in the
 * ledger, and nothing that comes after.
 *
 * Measured, beside much else: erasing a subject with 1,000,000 active actors took 3.6 s in one transaction, merging it
 * into an empty one 13 s. The log's commits go on meanwhile, and what they bring waits in the overlay.
 */
export class JobRows {
  readonly #parts: JobParts;
  readonly #sql: ReturnType<typeof prepare>;
  /** The highest floor there is: what is stamped above it need not be looked up. */
  #floorMax: Stamp = 0;

  constructor(db: Database, parts: JobParts) {
    this.#parts = parts;
    this.#sql = prepare(db);
    this.reload();
  }

  reload(): void {
    this.#floorMax = this.#sql.floorMax.get()?.stamp ?? 0;
  }

  do(job: JobRecord): void {
    if (job.kind === "merge") this.#merge(job);
    else if (job.actor === "") {
      this.#eraseSubject(job.subject);
      this.#parts.becomes(job.subject, "");
    } else this.#eraseActor(job);
  }

  /** Whether the actor was erased after this: nothing brings it back. */
  isErased({ actor, stamp }: { actor: string; stamp: Stamp }): boolean {
    if (stamp > this.#floorMax) return false;
    return stamp <= (this.#sql.floor.get(actorHash(actor))?.stamp ?? 0);
  }

  /** The stamps on a register's way that still count. */
  way({ actor, way }: RegisterChange): Stamp[] | undefined {
    if (!way || (way[0] as Stamp) > this.#floorMax) return way;
    return way.filter((stamp) => !this.isErased({ actor, stamp }));
  }

  #eraseSubject(subject: string): void {
    const { segments } = this.#parts;
    const sql = this.#sql;
    for (let segment = 0; segment <= segments.current; segment++) {
      if (this.#parts.hasTotals()) {
        for (const { actor, metric } of sql.activeOf.iterate(segment, subject)) {
          this.#parts.leaveTotal({ metric, subject, actor });
        }
      }
      const rows = sql.eraseActive.run(segment, subject).changes + sql.eraseInactive.run(segment, subject).changes;
      if (rows > 0) segments.count(segment, -rows);
    }
    sql.eraseCounts.run(subject);
    for (const { segment } of sql.deltaSegments.all()) sql.eraseDeltas.run(segment, subject);
    for (const { at } of sql.steps.all()) sql.eraseHistory.run(at, subject);
  }

  #eraseActor({ actor, stamp }: EraseRecord): void {
    const { segments } = this.#parts;
    for (let segment = 0; segment <= segments.current; segment++) {
      const rows = this.#sql.rowsOfActor.all(segment, actor);
      if (rows.length === 0) continue;
      // What came and went before left as much in the history as it took.
      for (const row of rows) if (isActive(row.stamp)) this.#parts.uncount(row);
      this.#sql.eraseActor.run(segment, actor);
      segments.count(segment, -rows.length);
    }
    this.#sql.eraseTotals.run(actor);
    this.#parts.forgetTotals(actor);
    this.#sql.addFloor.run(actorHash(actor), stamp);
    this.#floorMax = Math.max(this.#floorMax, stamp);
  }

  #merge({ shard, subject: from, to }: MergeRecord): void {
    const { segments, filters, deltas } = this.#parts;
    // New rows go into the current segment, and perhaps the next ones: what is of `from` stands in those there are now.
    const last = segments.current;
    for (let segment = 0; segment <= last; segment++) {
      let page = { metric: 0, stamp: 0, actor: "" };
      for (;;) {
        const { metric, stamp, actor } = page;
        const rows = this.#sql.activePage.all(segment, from, metric, stamp, actor, PAGE_ROWS);
        this.#parts.unite(rows.map((row) => ({ shard, subject: to, ...row })));
        const next = rows.at(-1);
        if (!next || rows.length < PAGE_ROWS) break;
        page = next;
      }
    }
    // A count is the sum of its history, so moving the one moves the other.
    const move = (metric: number, at: number, amount: number): void => {
      filters.holdCount(metric, to);
      deltas.add(to, metric, at, amount);
      if (at === 0) this.#sql.addBefore.run(to, metric, amount);
    };
    for (const { metric, at, amount } of this.#sql.amountsOf.all(from)) move(metric, at, amount);
    for (const { at } of this.#sql.steps.all()) {
      for (const { metric, amount } of this.#sql.historyOf.all(at, from)) move(metric, at, amount);
    }
    this.#eraseSubject(from);
    this.#parts.becomes(from, to);
  }
}

function prepare(db: Database) {
  const active = "segment = ? AND subject = ? AND stamp & 1";
  return {
    activeOf: db.prepare<{ actor: string; metric: number }, [number, string]>(
      `SELECT actor, metric FROM relations INDEXED BY relations_by_subject WHERE ${active}`,
    ),
    activePage: db.prepare<
      { metric: number; stamp: number; actor: string },
      [number, string, number, number, string, number]
    >(
      `SELECT metric, stamp, actor FROM relations INDEXED BY relations_by_subject
       WHERE ${active} AND (metric, stamp, actor) > (?, ?, ?) ORDER BY metric, stamp, actor LIMIT ?`,
    ),
    eraseActive: db.prepare<never, [number, string]>(
      `DELETE FROM relations INDEXED BY relations_by_subject WHERE ${active}`,
    ),
    eraseInactive: db.prepare<never, [number, string]>(
      `DELETE FROM relations INDEXED BY relations_inactive WHERE segment = ? AND subject = ? AND (stamp & 1) = 0`,
    ),
    eraseCounts: db.prepare<never, [string]>("DELETE FROM counts WHERE subject = ?"),
    deltaSegments: db.prepare<{ segment: number }, []>("SELECT segment FROM delta_segments"),
    eraseDeltas: db.prepare<never, [number, string]>("DELETE FROM deltas WHERE segment = ? AND subject = ?"),
    /** Each step there is, by a seek for each: 400 days of hours are 10,000. */
    steps: db.prepare<{ at: number }, []>(
      `WITH RECURSIVE step (at) AS (
         SELECT min(at) FROM history
         UNION ALL SELECT (SELECT min(at) FROM history WHERE at > step.at) FROM step WHERE at IS NOT NULL
       ) SELECT at FROM step WHERE at IS NOT NULL`,
    ),
    eraseHistory: db.prepare<never, [number, string]>("DELETE FROM history WHERE at = ? AND subject = ?"),
    /** What stands before all hours is not folded from `deltas`. */
    addBefore: db.prepare<never, [string, number, number]>(
      `INSERT INTO history (at, subject, metric, amount) VALUES (0, ?, ?, ?)
       ON CONFLICT DO UPDATE SET amount = amount + excluded.amount`,
    ),
    historyOf: db.prepare<{ metric: number; amount: number }, [number, string]>(
      "SELECT metric, amount FROM history WHERE at = ? AND subject = ?",
    ),
    amountsOf: db.prepare<{ metric: number; at: number; amount: number }, [string]>(
      `SELECT metric, at, sum(amount) AS amount FROM delta_segments CROSS JOIN deltas USING (segment)
       WHERE subject = ? AND at > 0 GROUP BY metric, at`,
    ),
    rowsOfActor: db.prepare<{ metric: number; subject: string; stamp: number }, [number, string]>(
      "SELECT metric, subject, stamp FROM relations WHERE segment = ? AND actor = ?",
    ),
    eraseActor: db.prepare<never, [number, string]>("DELETE FROM relations WHERE segment = ? AND actor = ?"),
    eraseTotals: db.prepare<never, [string]>("DELETE FROM actors WHERE actor = ?"),
    addFloor: db.prepare<never, [Uint8Array, number]>(
      "INSERT INTO floors (actor, stamp) VALUES (?, ?) ON CONFLICT DO UPDATE SET stamp = max(stamp, excluded.stamp)",
    ),
    floor: db.prepare<{ stamp: number }, [Uint8Array]>("SELECT stamp FROM floors WHERE actor = ?"),
    floorMax: db.prepare<{ stamp: number | null }, []>("SELECT max(stamp) AS stamp FROM floors"),
  };
}
