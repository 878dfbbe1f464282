import type { Database } from "bun:sqlite";
import { dayOf } from "../arithmetic/days.ts";
import { Sketch } from "../distinct/sketch.ts";
import { ALL_TIME } from "../distinct/sketches.ts";
import type { VisitChange } from "../ports/ledger.ts";
import type { JobRecord } from "../records.ts";

/** Sketches of days go in slices, so that no batch waits for them. */
const PRUNE_ROWS = 500;

/** The ledger's sketches as their one writer changes them, each read and written once for a batch. */
export class SketchRows {
  readonly #sql: ReturnType<typeof prepare>;
  #prunedDay = 0;

  constructor(db: Database) {
    this.#sql = prepare(db);
  }

  /** In the transaction. Days before yesterday are over: nobody asks for them. */
  apply(changes: readonly VisitChange[], nowMs: number): void {
    const yesterday = dayOf(nowMs) - 1;
    for (const { subject, metric, visits } of changes) {
      const days = new Set(visits.map(([, day]) => day).filter((day) => day >= yesterday));
      for (const day of [ALL_TIME, ...days]) {
        const row = this.#sql.sketch.get(day, subject, metric);
        const sketch = row ? Sketch.decode(row.sketch) : new Sketch();
        let changed = false;
        for (const [code, of] of visits) {
          if ((day === ALL_TIME || of === day) && sketch.add(code)) changed = true;
        }
        if (changed) this.#sql.store.run(day, subject, metric, sketch.encode());
      }
    }
  }

  /** An erased subject has no sketches; a merged one leaves its visitors to the other. Erasing an actor changes no sketch. */
  do(job: JobRecord): void {
    const { subject } = job;
    if (subject === "") return;
    for (let day = this.#dayAfter(ALL_TIME - 1); day !== null; day = this.#dayAfter(day)) {
      if (job.kind === "merge") this.#merge(day, subject, job.to);
      this.#sql.erase.run(day, subject);
    }
  }

  #merge(day: number, from: string, to: string): void {
    for (const { metric, sketch } of this.#sql.sketchesOf.all(day, from)) {
      const row = this.#sql.sketch.get(day, to, metric);
      const both = Sketch.decode(sketch);
      if (row) both.merge(Sketch.decode(row.sketch));
      this.#sql.store.run(day, to, metric, both.encode());
    }
  }

  #dayAfter(day: number): number | null {
    return this.#sql.dayAfter.get(day)?.day ?? null;
  }

  /** A slice; false: there is none. */
  prune(nowMs: number): boolean {
    const yesterday = dayOf(nowMs) - 1;
    if (this.#prunedDay === yesterday) return false;
    if (this.#sql.prune.run(yesterday, PRUNE_ROWS).changes === PRUNE_ROWS) return true;
    this.#prunedDay = yesterday;
    return false;
  }
}

function prepare(db: Database) {
  return {
    sketch: db.prepare<{ sketch: Uint8Array }, [number, string, number]>(
      "SELECT sketch FROM sketches WHERE day = ? AND subject = ? AND metric = ?",
    ),
    store: db.prepare<never, [number, string, number, Uint8Array]>(
      `INSERT INTO sketches (day, subject, metric, sketch) VALUES (?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET sketch = excluded.sketch`,
    ),
    sketchesOf: db.prepare<{ metric: number; sketch: Uint8Array }, [number, string]>(
      "SELECT metric, sketch FROM sketches WHERE day = ? AND subject = ?",
    ),
    erase: db.prepare<never, [number, string]>("DELETE FROM sketches WHERE day = ? AND subject = ?"),
    dayAfter: db.prepare<{ day: number | null }, [number]>("SELECT min(day) AS day FROM sketches WHERE day > ?"),
    prune: db.prepare<never, [number, number]>(
      `DELETE FROM sketches WHERE (day, subject, metric) IN
       (SELECT day, subject, metric FROM sketches WHERE day > ${ALL_TIME} AND day < ? LIMIT ?)`,
    ),
  };
}
