import { z } from "zod";
import { DAY_S } from "../arithmetic/days.ts";
import { HOUR_S } from "../arithmetic/windows.ts";
import { badInput } from "../errors.ts";
import { HISTORY_POINTS_MAX } from "../limits.ts";

const ONCE = { error: "must be given once" };
const SHAPE = "must be a time in ISO 8601 UTC like 2026-11-20T12:00:00Z, or a day like 2026-11-20";
/** Before the first there is no history, and nothing is counted yet behind the last. */
const FIRST_S = Date.UTC(2000) / 1000;
const LAST_S = Date.UTC(2100) / 1000;

/** Seconds since 1970; a day means its beginning. */
const time = z
  .string(ONCE)
  .pipe(z.union([z.iso.datetime(), z.iso.date()], { error: SHAPE }))
  .transform((text) => Date.parse(text) / 1000)
  .refine((second) => second >= FIRST_S && second < LAST_S, "must be from the year 2000 on and before 2100");

export const HistoryQuery = z.object({
  step: z.enum(["hour", "day"], { error: "must be hour or day" }).optional(),
  from: time.optional(),
  to: time.optional(),
});
export type HistoryInput = z.infer<typeof HistoryQuery>;

const STEPS = { hour: { seconds: HOUR_S, count: 24 }, day: { seconds: DAY_S, count: 30 } };

/** The whole steps that are asked for, in seconds since 1970. */
export interface Steps {
  step: "hour" | "day";
  seconds: number;
  from: number;
  to: number;
}

/** A time within a step means all of that step; what is not given is the running step and those before it. */
export function stepsOf({ step = "hour", from, to }: HistoryInput, nowMs: number): Steps {
  const { seconds, count } = STEPS[step];
  const end = to === undefined ? (Math.floor(nowMs / 1000 / seconds) + 1) * seconds : Math.ceil(to / seconds) * seconds;
  const start = from === undefined ? end - count * seconds : Math.floor(from / seconds) * seconds;
  if (start >= end) throw badInput(to === undefined ? "from" : "to", "from must be before to");
  const points = (end - start) / seconds;
  if (points > HISTORY_POINTS_MAX) {
    throw badInput("from", `${points} ${step}s are too many at once; at most ${HISTORY_POINTS_MAX} are told`);
  }
  return { step, seconds, from: start, to: end };
}
