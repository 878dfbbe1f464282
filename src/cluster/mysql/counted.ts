import type { Subject } from "../../model.ts";
import type { Row } from "./connection.ts";
import { idOf, idSql, wholeSql } from "./sql.ts";

/** Subjects between two, the first `limit` of them. */
export interface CountedRange {
  after: Subject;
  below: Subject;
  limit: number;
}

export function countedSql({ after, below, limit }: CountedRange): string {
  return `SELECT counts.subject, metric, count FROM (
      SELECT DISTINCT subject FROM counts FORCE INDEX (PRIMARY)
      WHERE subject > ${idSql(after)} AND subject < ${idSql(below)} ORDER BY subject LIMIT ${wholeSql(limit)}
    ) AS page STRAIGHT_JOIN counts FORCE INDEX (PRIMARY) ON counts.subject = page.subject ORDER BY page.subject`;
}

export function countedRows(rows: readonly Row[]): Map<Subject, [metric: number, count: number][]> {
  const found = new Map<Subject, [number, number][]>();
  for (const [subject, metric, count] of rows) {
    const id = idOf(subject as Buffer);
    const counts = found.get(id) ?? [];
    found.set(id, counts);
    counts.push([Number(metric), Number(count)]);
  }
  return found;
}
