import { type Parser, parse } from "csv-parse";
import { COUNT_MAX } from "../model.ts";
import { BadField, EventMaker, type ImportEvent, type Reading } from "./event.ts";
import type { Mapping, RowReader } from "./mapping.ts";
import type { Problems } from "./problem.ts";
import { type Moment, readMoment } from "./times.ts";

const ROW_BYTES_MAX = 1024 * 1024;
const BATCH = 1_000;

export interface CsvOptions {
  mapping: Mapping;
  delimiter: string;
  /** The first row is data, and columns go by their numbers. */
  isHeadless: boolean;
}

const YES = /^(?:1|t|true|y|yes|on|active)$/i;
const NO = /^(?:0|f|false|n|no|off|inactive|)$/i;

interface ParsedRow {
  record: string[];
  info: { lines: number };
}

/** The rows of a table, checked. What is wrong goes to `problems`, with the line where the row ends. */
export class CsvReader {
  readonly #maker: EventMaker;
  readonly #problems: Problems;
  readonly #options: CsvOptions;

  constructor(reading: Reading, problems: Problems, options: CsvOptions) {
    this.#maker = new EventMaker(reading);
    this.#problems = problems;
    this.#options = options;
  }

  async *events(chunks: Iterable<Buffer>): AsyncGenerator<ImportEvent[]> {
    const { mapping, delimiter, isHeadless } = this.#options;
    const parser = parse({
      delimiter,
      bom: true,
      info: true,
      skip_empty_lines: true,
      max_record_size: ROW_BYTES_MAX,
    });
    void feed(parser, chunks);
    let read: RowReader | null = null;
    let batch: ImportEvent[] = [];
    try {
      for await (const { record, info } of parser as AsyncIterable<ParsedRow>) {
        if (read === null) {
          read = mapping.bind(isHeadless ? null : record, record.length);
          if (!isHeadless) continue;
        }
        const event = this.#event(info.lines, record, read);
        if (event === null) continue;
        batch.push(event);
        if (batch.length < BATCH) continue;
        yield batch;
        batch = [];
      }
    } catch (error) {
      const { code, lines, message } = error as { code?: string; lines?: number; message: string };
      if (!code?.startsWith("CSV_")) throw error;
      this.#problems.add(lines ?? 1, message);
    }
    yield batch;
  }

  #event(line: number, row: string[], read: RowReader): ImportEvent | null {
    try {
      const metric = this.#maker.metric(read(row, "metric") ?? "");
      const subject = read(row, "subject") ?? "";
      const at = momentOf(read(row, "at"));
      if (metric.kind === "tally") return this.#maker.tally(line, metric, subject, countOf(read(row, "count")), at);
      const actor = read(row, "actor");
      return this.#maker.relation(line, metric, subject, { actor, active: isActive(read(row, "active")), at });
    } catch (error) {
      if (!(error instanceof BadField)) throw error;
      const { field, message } = error;
      this.#problems.add(line, field === "" ? message : `${field}: ${message}`);
      return null;
    }
  }
}

/** A chunk at a time: the parser says when it has room again. */
async function feed(parser: Parser, chunks: Iterable<Buffer>): Promise<void> {
  const strict = new TextDecoder("utf-8", { fatal: true });
  for (const chunk of chunks) {
    try {
      strict.decode(chunk, { stream: true });
    } catch {
      parser.destroy(Object.assign(new Error("is not valid UTF-8"), { code: "CSV_UTF8", lines: parser.info.lines }));
      return;
    }
    if (!parser.write(chunk)) await new Promise((resolve) => parser.once("drain", resolve));
  }
  parser.end();
}

function momentOf(text: string | undefined): Moment | null {
  if (text === undefined || text === "") return null;
  const moment = readMoment(text, true);
  if (moment === null)
    throw new BadField("at", `must be a time like 2026-11-20 12:00:00 in UTC or seconds since 1970, not ${text}`);
  return moment;
}

function countOf(text = "1"): number {
  const count = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (count <= COUNT_MAX) return count;
  throw new BadField("count", `must be a whole number from 0 to 2^53-1, not ${JSON.stringify(text)}`);
}

function isActive(text = "1"): boolean {
  if (YES.test(text)) return true;
  if (NO.test(text)) return false;
  throw new BadField("active", `must be like 1, true, yes or 0, false, no, not ${JSON.stringify(text)}`);
}
