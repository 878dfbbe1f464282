import { Problem } from "../../errors.ts";
import { contentTypeOf } from "../body.ts";
import type { RawEvent } from "./event.ts";
import { jsonEvent } from "./ndjson.ts";
import { JsonScanner, type Scanner, TextScanner } from "./scan.ts";
import { textEvent } from "./text.ts";

/** A way to write events, a line each. */
export interface EventFormat {
  name: "ndjson" | "text";
  scanner(): Scanner;
  /** Throws the Problem whose detail is the line's message. */
  parse(line: string): RawEvent;
}

const NDJSON: EventFormat = { name: "ndjson", scanner: () => new JsonScanner(), parse: jsonEvent };
/** `text/plain`. */
export const TEXT: EventFormat = { name: "text", scanner: () => new TextScanner(), parse: textEvent };
const FORMATS: Readonly<Record<string, EventFormat>> = { "application/x-ndjson": NDJSON, "text/plain": TEXT };

export function formatOf(contentType: string | undefined): EventFormat {
  const type = contentTypeOf(contentType);
  const format = type !== undefined && Object.hasOwn(FORMATS, type) ? FORMATS[type] : undefined;
  if (format) return format;
  const given = contentType === undefined ? "it has no Content-Type" : `not ${contentType}`;
  throw new Problem("wrong-content-type", `events come as application/x-ndjson or text/plain; ${given}`);
}
