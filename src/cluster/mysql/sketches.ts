import { dayOf } from "../../arithmetic/days.ts";
import { Sketch } from "../../distinct/sketch.ts";
import { ALL_TIME, type SketchName, type StoredPair } from "../../distinct/sketches.ts";
import type { Subject } from "../../model.ts";
import type { VisitChange } from "../../ports/ledger.ts";
import type { LedgerConnection } from "./connection.ts";
import { hexSql, idOf, idSql, rowsSql, wholeSql } from "./sql.ts";

/** Sketches in one statement: 24 KB each as text, and a server takes 16 MB of it. */
const ROWS = 100;

interface SketchRow {
  subject: Subject;
  metric: number;
  day: number;
  sketch: Sketch;
}

/**
 * In the transaction of a batch, whose shards are locked: nobody else writes these sketches. Each is read and written once;
 * days before yesterday are over.
 */
export async function storeVisits(
  connection: LedgerConnection,
  changes: readonly VisitChange[],
  nowMs: number,
): Promise<void> {
  const yesterday = dayOf(nowMs) - 1;
  const wanted = changes.flatMap(({ subject, metric, visits }) => {
    const days = new Set(visits.map(([, day]) => day).filter((day) => day >= yesterday));
    return [ALL_TIME, ...days].map((day) => ({ subject, metric, day, visits }));
  });
  for (let from = 0; from < wanted.length; from += ROWS) {
    const part = wanted.slice(from, from + ROWS);
    const found = await read(connection, part);
    const changed: SketchRow[] = [];
    for (const { subject, metric, day, visits } of part) {
      const sketch = found.get(nameOf({ subject, metric, day })) ?? new Sketch();
      let isNew = false;
      for (const [code, of] of visits) if ((day === ALL_TIME || of === day) && sketch.add(code)) isNew = true;
      if (isNew) changed.push({ subject, metric, day, sketch });
    }
    await storeSketches(connection, changed);
  }
}

/** An erased subject has none; a subject that `from` was merged with has its visitors too. In the job's transaction. */
export async function eraseSketches(connection: LedgerConnection, subject: Subject): Promise<void> {
  await connection.write(`DELETE FROM sketches WHERE subject = ${idSql(subject)}`);
}

export async function mergeSketches(connection: LedgerConnection, from: Subject, to: Subject): Promise<void> {
  const both: SketchRow[] = [];
  for (const { metric, day, sketch } of await sketchesOf(connection, from)) {
    const [row] = await connection.ask(
      `SELECT sketch FROM sketches
       WHERE subject = ${idSql(to)} AND metric = ${wholeSql(metric)} AND day = ${wholeSql(day)}`,
    );
    if (row) sketch.merge(Sketch.decode(row[0] as Buffer));
    both.push({ subject: to, metric, day, sketch });
  }
  await storeSketches(connection, both);
  await eraseSketches(connection, from);
}

/** Pairs as one statement sees them. */
export async function sketchPairs(
  connection: LedgerConnection,
  names: readonly (SketchName & { day: number })[],
): Promise<StoredPair[]> {
  const wanted = names.flatMap((name) => [name, { ...name, day: ALL_TIME }]);
  const found = await read(connection, wanted);
  return names.map((name) => ({
    today: found.get(nameOf(name)) ?? null,
    all: found.get(nameOf({ ...name, day: ALL_TIME })) ?? null,
  }));
}

async function read(
  connection: LedgerConnection,
  wanted: readonly (SketchName & { day: number })[],
): Promise<Map<string, Sketch>> {
  const names = rowsSql(
    wanted,
    ({ subject, metric, day }) => `(${idSql(subject)},${wholeSql(metric)},${wholeSql(day)})`,
  );
  const rows = await connection.ask(
    `SELECT subject, metric, day, sketch FROM sketches FORCE INDEX (PRIMARY) WHERE (subject, metric, day) IN (${names})`,
  );
  const found = new Map<string, Sketch>();
  for (const [subject, metric, day, sketch] of rows) {
    const name = { subject: idOf(subject as Buffer), metric: Number(metric), day: Number(day) };
    found.set(nameOf(name), Sketch.decode(sketch as Buffer));
  }
  return found;
}

function nameOf({ subject, metric, day }: SketchName & { day: number }): string {
  return `${metric} ${day} ${subject}`;
}

async function sketchesOf(connection: LedgerConnection, subject: Subject): Promise<SketchRow[]> {
  const rows = await connection.ask(`SELECT metric, day, sketch FROM sketches WHERE subject = ${idSql(subject)}`);
  return rows.map(([metric, day, sketch]) => {
    return { subject, metric: Number(metric), day: Number(day), sketch: Sketch.decode(sketch as Buffer) };
  });
}

async function storeSketches(connection: LedgerConnection, sketches: readonly SketchRow[]): Promise<void> {
  for (let from = 0; from < sketches.length; from += ROWS) {
    const rows = rowsSql(
      sketches.slice(from, from + ROWS),
      ({ subject, metric, day, sketch }) =>
        `(${idSql(subject)},${wholeSql(metric)},${wholeSql(day)},${hexSql(Buffer.from(sketch.encode()).toString("hex"))})`,
    );
    await connection.write(
      `INSERT INTO sketches (subject, metric, day, sketch) VALUES ${rows} ON DUPLICATE KEY UPDATE sketch = VALUES(sketch)`,
    );
  }
}

/** Sketches of days that are over, so many at once; how many went. */
export async function pruneSketches(connection: LedgerConnection, nowMs: number, rowsMax: number): Promise<number> {
  const { affectedRows } = await connection.write(
    `DELETE FROM sketches WHERE day > ${ALL_TIME} AND day < ${wholeSql(dayOf(nowMs) - 1)} ORDER BY day LIMIT ${wholeSql(rowsMax)}`,
  );
  return affectedRows;
}
