import { badInput, Problem } from "../../errors.ts";
import { BY_MAX } from "../../model.ts";
import { decode } from "../path.ts";
import type { RawEvent } from "./event.ts";

const BLANKS = /[ \t]+/;
const NUMBER = /^[0-9]{1,16}$/;

/** `views article/42 3`: the id percent-encoded, the number optional. */
export function textEvent(line: string): RawEvent {
  const [metric = "", subject, number, ...rest] = line.split(BLANKS).filter((part) => part !== "");
  if (subject === undefined || rest.length > 0) {
    throw new Problem("bad-input", "a line is: METRIC TYPE/ID, or METRIC TYPE/ID NUMBER");
  }
  return { metric, subject: subjectIn(subject), isText: true, by: number === undefined ? undefined : numberIn(number) };
}

function subjectIn(raw: string): string {
  const slash = raw.indexOf("/");
  return slash < 0 ? raw : `${raw.slice(0, slash)}/${decode(raw.slice(slash + 1), "subject")}`;
}

function numberIn(raw: string): number {
  const by = NUMBER.test(raw) ? Number(raw) : 0;
  if (by < 1 || by > BY_MAX) throw badInput("number", `must be an integer from 1 to ${BY_MAX}`);
  return by;
}
