import { createHash } from "node:crypto";
import type { ImportTarget } from "../ports/archive.ts";
import { type CsvOptions, CsvReader } from "./csv.ts";
import type { ImportEvent } from "./event.ts";
import type { Input } from "./input.ts";
import { NdjsonReader } from "./ndjson.ts";
import { type PackedFrame, Packer } from "./packer.ts";
import { Problems } from "./problem.ts";
import type { Moment } from "./times.ts";

export interface ImportOptions {
  /** Undefined: NDJSON. */
  csv: CsvOptions | undefined;
  /** For lines without a time. */
  at: Moment | null;
}

export interface Imported {
  tallies: number;
  relations: number;
  /** Of both: those that had been imported before. */
  known: number;
}

export type Progress = (phase: "checked" | "imported", lines: number, of: number | null) => void;

/** Another way of making records of lines must not go on with the numbers of this one. */
const WAY = "import2";

/**
 * Everything is read twice: first checked and hashed, so that a bad line is known before anything is done; then numbered, under
 * the hash as the source's name, and appended. So the same input has the same numbers at any time, on any server: whatever of it
 * was taken before, be it half of it when a process was killed, is left out.
 */
export async function importInto(
  target: ImportTarget,
  input: Input,
  options: ImportOptions,
  progress: Progress,
): Promise<Imported> {
  const nowMs = Date.now();
  const read = (
    problems: Problems,
    chunks: Iterable<Buffer>,
  ): AsyncIterable<ImportEvent[]> | Iterable<ImportEvent[]> => {
    const reading = { metrics: target.metrics, types: target.types, at: options.at, nowMs };
    return options.csv
      ? new CsvReader(reading, problems, options.csv).events(chunks)
      : new NdjsonReader(reading, problems).events(chunks);
  };

  const problems = new Problems();
  const hash = createHash("sha256").update(JSON.stringify(meaningOf(options)));
  let lines = 0;
  for await (const events of read(problems, hashed(input, hash))) {
    lines += events.length;
    progress("checked", lines, null);
  }
  problems.check();

  const source = `${WAY}-${hash.digest("hex").slice(0, 40)}`;
  const packer = new Packer({ source, partitions: target.partitions, last: await target.last(source) });
  const full: PackedFrame[] = [];
  const imported: Imported = { tallies: 0, relations: 0, known: 0 };
  for await (const events of read(problems, input.chunks())) {
    for (const event of events) {
      if (event.actor === "") imported.tallies++;
      else imported.relations++;
      packer.add(event, (frame) => full.push(frame));
      for (const { bytes, partition } of full.splice(0)) await target.append(bytes, partition);
    }
    imported.known = packer.known;
    progress("imported", imported.tallies + imported.relations, lines);
  }
  for (const { bytes, partition } of packer.rest()) await target.append(bytes, partition);
  await target.finish();
  return imported;
}

/** What beside the bytes decides which events they are. */
function meaningOf({ csv, at }: ImportOptions): unknown {
  return [at, csv ? [csv.mapping.name, csv.delimiter, csv.isHeadless] : null];
}

function* hashed(input: Input, hash: { update(chunk: Buffer): unknown }): Generator<Buffer> {
  for (const chunk of input.chunks()) {
    hash.update(chunk);
    yield chunk;
  }
}
