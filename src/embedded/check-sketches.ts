import type { Database } from "bun:sqlite";
import { decoded, sketchProblem } from "../distinct/check.ts";
import { Sketch } from "../distinct/sketch.ts";
import { ALL_TIME } from "../distinct/sketches.ts";

/** See `sketchProblem`. */
export interface SketchDifference {
  what: "sketch";
  metric: number;
  subject: string;
  /** Since 1970; ALL_TIME. */
  day: number;
  expected: string;
  found: string;
}

interface SketchRow {
  day: number;
  subject: string;
  metric: number;
  sketch: Uint8Array;
  whole: Uint8Array | null;
}

const ROWS = `
  SELECT day, subject, metric, sketch,
         (SELECT sketch FROM sketches AS whole
           WHERE whole.day = ${ALL_TIME} AND whole.subject = sketches.subject AND whole.metric = sketches.metric) AS whole
  FROM sketches`;

export function* checkSketches(db: Database): Generator<SketchDifference> {
  for (const { sketch, whole, ...name } of db.query<SketchRow, []>(ROWS).iterate()) {
    const problem = sketchProblem(name.day, sketch, whole);
    if (problem) yield { what: "sketch", ...name, ...problem };
  }
}

/** What is no sketch goes, and begins anew; what all time lacks it gets. */
export function repairSketch(db: Database, { day, subject, metric }: SketchDifference): void {
  const get = db.query<{ sketch: Uint8Array }, [number, string, number]>(
    "SELECT sketch FROM sketches WHERE day = ? AND subject = ? AND metric = ?",
  );
  const stored = (of: number) => decoded(get.get(of, subject, metric)?.sketch ?? new Uint8Array(0));
  const own = stored(day);
  if (!own) {
    db.query("DELETE FROM sketches WHERE day = ? AND subject = ? AND metric = ?").run(day, subject, metric);
    return;
  }
  const all = stored(ALL_TIME) ?? new Sketch();
  all.merge(own);
  db.query("INSERT OR REPLACE INTO sketches (day, subject, metric, sketch) VALUES (?, ?, ?, ?)").run(
    ALL_TIME,
    subject,
    metric,
    all.encode(),
  );
}
