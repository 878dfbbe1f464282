import { Problem } from "../../errors.ts";
import { jsonPlace } from "../../lib/json-place.ts";
import { EventLine } from "../input.ts";
import { invalid } from "../problem.ts";
import type { RawEvent } from "./event.ts";

/** `{"metric":"views","subject":"article/42","by":3}` */
export function jsonEvent(line: string): RawEvent {
  const parsed = EventLine.safeParse(jsonOf(line));
  if (!parsed.success) throw invalid(parsed.error.issues, "json");
  return parsed.data;
}

function jsonOf(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    const column = /column \d+/.exec(jsonPlace(line) ?? "")?.[0] ?? "column 1";
    throw new Problem("bad-input", `the line is not JSON: ${column}`);
  }
}
