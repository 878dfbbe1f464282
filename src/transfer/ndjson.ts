import { isUtf8 } from "node:buffer";
import { z } from "zod";
import type { Code } from "../distinct/code.ts";
import { Sketch } from "../distinct/sketch.ts";
import { BadField, EventMaker, type ImportEvent, type Reading } from "./event.ts";
import { FORMAT } from "./lines.ts";
import type { Problems } from "./problem.ts";
import { codesOf } from "./sketch-codes.ts";
import { STEPS_MAX, UNKNOWN_HOUR_S } from "./steps.ts";
import { type Moment, readMoment } from "./times.ts";

/** A line: the longest that an export writes has 40,000 hours of some 30 bytes. */
const LINE_BYTES_MAX = 4 * 1024 * 1024;
const NEWLINE = 10;
const BATCH = 1_000;

const OBJECT = { error: "must be a JSON object" };
const TEXT = { error: "must be a string" };
const BOOLEAN = { error: "must be true or false" };
const from0 = { error: "must be an integer from 0 to 2^53-1" };
const from1 = { error: "must be an integer from 1 to 2^53-1" };
const whole = { error: "must be an integer" };
const HOURS = { error: 'must be a list of ["2026-11-20T12:00:00Z",5]' };

const named = { metric: z.string(TEXT), subject: z.string(TEXT), at: z.string(TEXT).optional() };
const ActLine = z.strictObject({ ...named, actor: z.string(TEXT), active: z.boolean(BOOLEAN).optional() }, OBJECT);
const ByLine = z.strictObject(
  { ...named, by: z.int(from1).min(1, from1).optional(), actor: z.string(TEXT).optional() },
  OBJECT,
);
const CountLine = z.strictObject(
  {
    ...named,
    count: z.int(from0).min(0, from0),
    hours: z
      .array(z.tuple([z.string(HOURS), z.int(whole)], HOURS), HOURS)
      .max(STEPS_MAX + 1)
      .optional(),
    visitors: z.string(TEXT).optional(),
  },
  OBJECT,
);
const Header = z.looseObject({ tally: z.literal(FORMAT, { error: `must be ${FORMAT}: another version wrote it` }) });
const whole0 = z.int(from0).min(0, from0);
const End = z.strictObject({ end: z.strictObject({ tallies: whole0, relations: whole0 }) });

/** The lines of an export, or any of the kinds it has, checked. What is wrong goes to `problems`. */
export class NdjsonReader {
  readonly #maker: EventMaker;
  readonly #problems: Problems;
  #line = 0;
  /** What the last line must say, once there was a first one of an export. */
  #counted: { tallies: number; relations: number } | null = null;
  #hasEnded = false;

  constructor(reading: Reading, problems: Problems) {
    this.#maker = new EventMaker(reading);
    this.#problems = problems;
  }

  *events(chunks: Iterable<Buffer>): Generator<ImportEvent[]> {
    let batch: ImportEvent[] = [];
    for (const bytes of this.#lines(chunks)) {
      this.#line++;
      const event = this.#read(bytes);
      if (event === null) continue;
      batch.push(event);
      if (batch.length < BATCH) continue;
      yield batch;
      batch = [];
    }
    if (this.#counted && !this.#hasEnded && this.#problems.hasNone)
      this.#problems.add(this.#line + 1, "the export ends without its last line: it was cut off");
    yield batch;
  }

  *#lines(chunks: Iterable<Buffer>): Generator<Buffer> {
    let rest: Buffer = Buffer.alloc(0);
    for (const chunk of chunks) {
      const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      let from = 0;
      for (let end = bytes.indexOf(NEWLINE, rest.length); end >= 0; end = bytes.indexOf(NEWLINE, from)) {
        yield bytes.subarray(from, end);
        from = end + 1;
      }
      rest = bytes.subarray(from);
      if (rest.length <= LINE_BYTES_MAX) continue;
      this.#problems.add(this.#line + 1, `is longer than ${LINE_BYTES_MAX} bytes`);
      this.#problems.check();
    }
    if (rest.length > 0) yield rest;
  }

  #read(bytes: Buffer): ImportEvent | null {
    try {
      if (!isUtf8(bytes)) throw new BadField("", "is not valid UTF-8");
      const text = bytes.toString("utf8", this.#line === 1 && bytes[0] === 0xef ? 3 : 0);
      if (text.trim() === "") return null;
      const value = parse(text);
      if (this.#hasEnded) throw new BadField("", "stands behind the export's last line");
      if (this.#isFrame(value)) return null;
      const event = this.#event(value);
      if (this.#counted && event.actor !== "") this.#counted.relations++;
      else if (this.#counted) this.#counted.tallies++;
      return event;
    } catch (error) {
      if (!(error instanceof BadField)) throw error;
      const { field, message } = error;
      this.#problems.add(this.#line, field === "" ? message : `/${field}: ${message}`);
      return null;
    }
  }

  /** Whether it is the first or the last line of an export. */
  #isFrame(value: object): boolean {
    if ("tally" in value) {
      check(Header, value);
      if (this.#line > 1) throw new BadField("tally", "an export begins in the middle: import one after the other");
      this.#counted = { tallies: 0, relations: 0 };
      return true;
    }
    if (!("end" in value)) return false;
    const { end } = check(End, value);
    if (!this.#counted) throw new BadField("end", "belongs to an export, and this did not begin as one");
    this.#hasEnded = true;
    const { tallies, relations } = this.#counted;
    if (this.#problems.hasNone && (end.tallies !== tallies || end.relations !== relations))
      throw new BadField(
        "end",
        `there are ${tallies} tallies and ${relations} relations, not ${end.tallies} and ${end.relations}: lines are missing`,
      );
    return true;
  }

  #event(value: object): ImportEvent {
    const line = this.#line;
    const name = "metric" in value ? value.metric : undefined;
    if (typeof name !== "string") throw new BadField("metric", "must be a string");
    const metric = this.#maker.metric(name);
    if (metric.kind === "relation") {
      const { subject, actor, active = true, at } = check(ActLine, value);
      return this.#maker.relation(line, metric, subject, { actor, active, at: momentOf(at) });
    }
    if (!("count" in value)) {
      const { subject, by = 1, at } = check(ByLine, value);
      return this.#maker.tally(line, metric, subject, by, momentOf(at));
    }
    const { subject, count, hours, at, visitors } = check(CountLine, value);
    if (hours !== undefined && at !== undefined) throw new BadField("at", "does not go with /hours");
    const event =
      hours === undefined
        ? this.#maker.tally(line, metric, subject, count, momentOf(at))
        : this.#maker.steps(line, metric, subject, stepsOf(count, hours));
    if (visitors !== undefined) event.visitors = visitorsOf(visitors);
    return event;
  }
}

function parse(text: string): object {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new BadField("", "is not JSON");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new BadField("", OBJECT.error);
  return value;
}

function check<T>(schema: z.ZodType<T>, value: object): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  if (issue?.code === "unrecognized_keys") throw new BadField(issue.keys[0] ?? "", "is not known here");
  const path = issue?.path.join("/") ?? "";
  const isMissing = issue?.code === "invalid_type" && issue.input === undefined && !(path in value);
  throw new BadField(path, isMissing && path !== "" ? "is missing" : (issue?.message ?? "is not valid"));
}

function momentOf(at: string | undefined): Moment | null {
  if (at === undefined) return null;
  const moment = readMoment(at);
  if (moment === null) throw new BadField("at", "must be a time in ISO 8601 UTC like 2026-11-20T12:00:00Z");
  return moment;
}

function visitorsOf(text: string): Code[] {
  try {
    return codesOf(Sketch.decode(Buffer.from(text, "base64")));
  } catch {
    throw new BadField("visitors", "is no sketch of an export");
  }
}

/** Hours rise, and add up to the count: so a line that lost one is known. */
function stepsOf(count: number, hours: readonly [string, number][]): [number, number][] {
  let sum = 0;
  let last = -1;
  const steps = hours.map(([text, amount], i): [number, number] => {
    const at = (readMoment(text)?.ms ?? Number.NaN) / 1000;
    if (!(at >= UNKNOWN_HOUR_S && at % 3600 === 0))
      throw new BadField(`hours/${i}/0`, "must be the beginning of an hour from 2000 on, in UTC");
    if (at <= last) throw new BadField(`hours/${i}/0`, "must be later than the hour before it");
    last = at;
    sum += amount;
    return [at, amount];
  });
  if (sum !== count) throw new BadField("count", `is ${count}, but its hours add up to ${sum}`);
  return steps;
}
