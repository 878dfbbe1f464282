import { isActive } from "../arithmetic/stamp.ts";
import type { ExportSource, RelationRow, TallyRow } from "../ports/archive.ts";
import { tidySteps } from "./steps.ts";
import { textOfStamp } from "./times.ts";

/** Raised when older programs could not read what we write. */
export const FORMAT = 1;
/** Text that goes out at once. */
const CHUNK_CHARS = 256 * 1024;

/**
 * A whole export as text, in chunks (docs/export.md): the same data give the same bytes. The last line says how much there was, so
 * that a file that was cut off is known.
 */
export async function* exportLines(source: ExportSource): AsyncGenerator<string> {
  const metrics = source.metrics.toSorted((a, b) => (a.name < b.name ? -1 : 1)).map(({ name, kind }) => [name, kind]);
  let chunk = `${JSON.stringify({ tally: FORMAT, metrics: Object.fromEntries(metrics) })}\n`;
  let tallies = 0;
  let relations = 0;
  for await (const row of source.tallies()) {
    const steps = tidySteps(row.steps);
    if (steps.length === 0 && row.visitors === undefined) continue;
    tallies++;
    chunk += tallyLine({ ...row, steps });
    if (chunk.length < CHUNK_CHARS) continue;
    yield chunk;
    chunk = "";
  }
  for await (const row of source.relations()) {
    relations++;
    chunk += relationLine(row);
    if (chunk.length < CHUNK_CHARS) continue;
    yield chunk;
    chunk = "";
  }
  yield `${chunk}${JSON.stringify({ end: { tallies, relations } })}\n`;
}

function tallyLine({ metric, subject, steps, visitors }: TallyRow): string {
  let count = 0;
  let hours = "";
  for (const [at, amount] of steps) {
    count += amount;
    hours += `${hours === "" ? "" : ","}["${hourText(at)}",${amount}]`;
  }
  const who = visitors === undefined ? "" : `,"visitors":"${Buffer.from(visitors).toString("base64")}"`;
  return `{"metric":"${metric}","subject":${JSON.stringify(subject)},"count":${count},"hours":[${hours}]${who}}\n`;
}

function relationLine({ metric, subject, actor, stamp }: RelationRow): string {
  const ids = `"subject":${JSON.stringify(subject)},"actor":${JSON.stringify(actor)}`;
  return `{"metric":"${metric}",${ids},"active":${isActive(stamp)},"at":"${textOfStamp(stamp)}"}\n`;
}

let lastAt = -1;
let lastText = "";

/** Neighbours are mostly of the same hour. */
function hourText(at: number): string {
  if (at === lastAt) return lastText;
  lastAt = at;
  lastText = `${new Date(at * 1000).toISOString().slice(0, 19)}Z`;
  return lastText;
}
