import { EPOCH_MS, hasStamp, msOf, type Stamp, stampOf, TIMES_PER_MS, timeOf } from "../arithmetic/stamp.ts";

/**
 * A stamp's time to the last bit as ISO 8601 UTC: milliseconds, and where the clock's counter is not 0 four digits more, the
 * nearest ten-thousandths of a millisecond. A counter is 1/1024 of one, so each has its own, and gets its own back.
 */
export function textOfStamp(stamp: Stamp): string {
  const text = new Date(msOf(stamp)).toISOString();
  const counter = timeOf(stamp) % TIMES_PER_MS;
  if (counter === 0) return text;
  return `${text.slice(0, -1)}${String(Math.round((counter * 10_000) / TIMES_PER_MS)).padStart(4, "0")}Z`;
}

const ISO = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d)?)(?:[.,](\d{1,12}))?)?(Z|[+-]00:?00)?$/;
const UNIX = /^\d{9,10}(?:\d{3})?$/;

/** A moment as precise as stamps are: milliseconds since 1970 and the counter. */
export interface Moment {
  ms: number;
  counter: number;
}

/**
 * What others write for a time, null where it is none: ISO 8601 in UTC; `lax` (tables of databases) also with a blank for the T,
 * without a zone (it is UTC) or without a time of day, and seconds or milliseconds since 1970.
 */
export function readMoment(text: string, lax = false): Moment | null {
  if (lax && UNIX.test(text)) return { ms: Number(text) * (text.length > 10 ? 1 : 1000), counter: 0 };
  const [, date, time, digits = "", zone] = ISO.exec(text) ?? [];
  if (date === undefined || (!lax && (zone === undefined || time === undefined || text[10] !== "T"))) return null;
  const seconds = `${date}T${time === undefined ? "00:00:00" : time.length === 5 ? `${time}:00` : time}`;
  const ms = Date.parse(`${seconds}Z`);
  // Date.parse takes 31 February for 3 March.
  if (Number.isNaN(ms) || !new Date(ms).toISOString().startsWith(seconds)) return null;
  const ticks = Number(digits.slice(3, 7).padEnd(4, "0"));
  const counter = Math.min(Math.round((ticks * TIMES_PER_MS) / 10_000), TIMES_PER_MS - 1);
  return { ms: ms + Number(digits.slice(0, 3).padEnd(3, "0")), counter };
}

/** The stamp of that moment; undefined where stamps do not reach. */
export function stampOfMoment({ ms, counter }: Moment, active: boolean): Stamp | undefined {
  if (!hasStamp(ms)) return undefined;
  return stampOf((ms - EPOCH_MS) * TIMES_PER_MS + counter, active);
}
