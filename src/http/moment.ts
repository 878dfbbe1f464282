import { z } from "zod";
import { hasStamp, STAMP_MS_MIN, TOO_FAR_AHEAD_MS } from "../arithmetic/stamp.ts";
import { Problem } from "../errors.ts";
import { wallMs } from "../lib/fault.ts";
import { type Caller, rankOf } from "./access.ts";

const SHAPE = "must be a time in ISO 8601 UTC like 2026-11-20T12:00:00Z";
/** Python and others write UTC so. */
const PLUS_ZERO = /[+-]00:00$/;
const FROM = new Date(STAMP_MS_MIN).toISOString().slice(0, 10);

/** Milliseconds since 1970 of any time. */
export const anyMoment = z
  .string({ error: SHAPE })
  .transform((text) => text.replace(PLUS_ZERO, "Z"))
  .pipe(z.iso.datetime({ error: SHAPE }))
  .transform((text) => Date.parse(text));

/** The same of a time that an act may have: from 2000 on, and not ahead of the clock. */
export const moment = anyMoment.superRefine((ms, context) => {
  const message = momentProblem(ms, wallMs());
  if (message) context.addIssue({ code: "custom", message });
});
/** What is wrong with an act's time, or null. */
export function momentProblem(ms: number, nowMs: number): string | null {
  if (Number.isNaN(ms)) return SHAPE;
  if (ms > nowMs + TOO_FAR_AHEAD_MS) return "must not be ahead of this server's clock by more than a minute";
  return hasStamp(ms) ? null : `must be from ${FROM} on`;
}

/** A time that the caller gives to an act: only admins may change the past. */
export function allowAt(atMs: number | undefined, caller: Caller): void {
  if (atMs === undefined || caller.rank >= rankOf("admin")) return;
  throw new Problem("forbidden", "/at takes the role admin: it changes the past");
}
