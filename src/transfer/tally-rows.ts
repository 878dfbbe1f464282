import { compareBytes } from "../arithmetic/place.ts";
import type { TallyRow } from "../ports/archive.ts";

/** The hour of a tally in a ledger's order: by subject, metric's number and time. */
export interface HourRow {
  metric: string;
  subject: string;
  at: number;
  amount: number;
}

export interface SketchRow {
  metric: string;
  subject: string;
  visitors: Uint8Array;
}

type Each<T> = Iterable<T> | AsyncIterable<T>;

/**
 * Hours and sketches, both in the order of their subjects' bytes, as rows by subject and metric's name: the numbers of metrics,
 * by which ledgers sort, go by the order in which they were configured.
 */
export async function* tallyRows(hours: Each<HourRow>, sketches: Each<SketchRow>): AsyncGenerator<TallyRow> {
  const left = subjects(hours, (row, { subject, metric, at, amount }) => {
    if (row?.metric === metric) row.steps.push([at, amount]);
    else return { metric, subject, steps: [[at, amount]] };
  });
  const right = subjects(sketches, (_, { subject, metric, visitors }) => ({ metric, subject, steps: [], visitors }));
  let [hour, sketch] = [await left.next(), await right.next()];
  while (!hour.done || !sketch.done) {
    const order = hour.done ? 1 : sketch.done ? -1 : compareBytes(subjectOf(hour.value), subjectOf(sketch.value));
    const rows: TallyRow[] = order <= 0 && !hour.done ? hour.value : [];
    for (const row of order >= 0 && !sketch.done ? sketch.value : []) {
      const same = rows.find(({ metric }) => metric === row.metric);
      if (same && row.visitors) same.visitors = row.visitors;
      else rows.push(row);
    }
    if (order <= 0) hour = await left.next();
    if (order >= 0) sketch = await right.next();
    yield* rows.sort((a, b) => (a.metric < b.metric ? -1 : 1));
  }
}

/** The rows of one subject after the other; `add` gives a new row, or has put it into the last one. */
async function* subjects<T extends { subject: string }>(
  items: Each<T>,
  // biome-ignore lint/suspicious/noConfusingVoidType: it returns nothing where there is no new row
  add: (last: TallyRow | undefined, item: T) => TallyRow | void,
): AsyncGenerator<TallyRow[]> {
  let rows: TallyRow[] = [];
  for await (const item of items) {
    if (rows.length > 0 && subjectOf(rows) !== item.subject) {
      yield rows;
      rows = [];
    }
    const row = add(rows.at(-1), item);
    if (row) rows.push(row);
  }
  if (rows.length > 0) yield rows;
}

function subjectOf(rows: TallyRow[]): string {
  return (rows[0] as TallyRow).subject;
}
