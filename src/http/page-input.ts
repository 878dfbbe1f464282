import { z } from "zod";
import { badInput, type InputError, Problem } from "../errors.ts";
import { INPUT_ERRORS_MAX, PAGE_SUBJECTS_MAX } from "../limits.ts";
import { type Subject, subjectProblem } from "../model.ts";
import { invalid } from "./problem.ts";

const SUBJECTS = `must be a list of 1 to ${PAGE_SUBJECTS_MAX} subjects, such as ["article/42"]`;
const METRICS = "must be a list of at least one metric";
const TEXT = { error: "must be a string" };
/** Metrics are numbered 1 to 255; one may be there twice. */
const METRICS_MAX = 512;

/** What is in it is checked apart (`checkSubjects`): zod takes ten times as long for a thousand strings. */
export const subjects = z.custom<unknown[]>(
  (value) => Array.isArray(value) && value.length >= 1 && value.length <= PAGE_SUBJECTS_MAX,
  SUBJECTS,
);
export const metrics = z
  .array(z.string(TEXT), { error: METRICS })
  .min(1, METRICS)
  .max(METRICS_MAX, `must be at most ${METRICS_MAX} metrics`)
  .optional();

const Envelope = z.strictObject(
  {
    subjects,
    metrics,
    actor: z.string(TEXT).optional(),
    known: z.boolean({ error: "must be true or false" }).optional(),
  },
  { error: "must be a JSON object" },
);

export interface PageInput {
  subjects: Subject[];
  metrics?: string[] | undefined;
  actor?: string | undefined;
  known?: boolean | undefined;
}

/** The body of a page, checked; else 400 with all that is wrong (of the subjects the first hundred). */
export function pageInput(body: unknown): PageInput {
  const envelope = Envelope.safeParse(body);
  if (!envelope.success) throw invalid(envelope.error.issues, "json");
  checkSubjects(envelope.data.subjects);
  return envelope.data as PageInput;
}

/** Nearly all of them: one look where the full check takes four. */
const PLAIN = /^[a-z][a-z0-9_]{0,31}\/(?!\.{1,2}$)[\x21-\x7e]{1,128}$/;

export function checkSubjects(subjects: readonly unknown[]): asserts subjects is Subject[] {
  let errors: InputError[] | null = null;
  for (let i = 0; i < subjects.length; i++) {
    const subject = subjects[i];
    if (typeof subject === "string" && PLAIN.test(subject)) continue;
    const message = typeof subject === "string" ? subjectProblem(subject) : TEXT.error;
    if (message === null) continue;
    errors ??= [];
    errors.push({ at: `/subjects/${i}`, message });
    if (errors.length === INPUT_ERRORS_MAX) break;
  }
  if (errors === null) return;
  if (errors.length === 1) throw badInput((errors[0] as InputError).at, (errors[0] as InputError).message);
  throw new Problem("bad-input", errors.map(({ at, message }) => `${at}: ${message}`).join("; "), { errors });
}
