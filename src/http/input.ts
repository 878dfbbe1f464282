import { zValidator } from "@hono/zod-validator";
import type { MiddlewareHandler } from "hono";
import { z } from "zod";
import { BY_MAX, idProblem } from "../model.ts";
import type { Call } from "./call.ts";
import { anyMoment, moment } from "./moment.ts";
import { decodeQuery } from "./path.ts";
import { invalid } from "./problem.ts";

// What bodies and queries hold. Unknown fields of a body are refused (a misspelt `by` would count 1), unknown
// parameters of a query ignored, as Stripe and GitHub do: they are often put there by others on the way.

const OBJECT = { error: "must be a JSON object" };
const TEXT = { error: "must be a string" };
const ONE_TEXT = { error: "must be given once" };
const by = { error: `must be an integer from 1 to ${BY_MAX}` };
const limit = "must be an integer from 1 to 100";

const id = z.string(TEXT).superRefine((value, context) => {
  const message = idProblem(value);
  if (message) context.addIssue({ code: "custom", message });
});

export const CountBody = z.strictObject(
  {
    by: z.int(by).min(1, by).max(BY_MAX, by).optional(),
    actor: id.optional(),
    at: moment.optional(),
  },
  OBJECT,
);
export type CountInput = z.infer<typeof CountBody>;

export const RelateBody = z.strictObject({ at: moment.optional() }, OBJECT);
export type RelateInput = z.infer<typeof RelateBody>;

/** A line of `POST /v1/events`; subject and actor are checked with the metric. `active` is true where it is not given. */
export const EventLine = z.strictObject(
  {
    metric: z.string(TEXT),
    subject: z.string(TEXT),
    by: z.int(by).min(1, by).max(BY_MAX, by).optional(),
    actor: z.string(TEXT).optional(),
    active: z.boolean({ error: "must be true or false" }).optional(),
    at: anyMoment.optional(),
  },
  OBJECT,
);

export const SubjectQuery = z.object({ actor: z.string(ONE_TEXT).optional() });
export type SubjectInput = z.infer<typeof SubjectQuery>;

export const ListQuery = z.object({
  limit: z
    .string(ONE_TEXT)
    .regex(/^(?:[1-9]\d?|100)$/, limit)
    .transform(Number)
    .optional(),
  cursor: z.string(ONE_TEXT).optional(),
  type: z.string(ONE_TEXT).optional(),
});
export type ListInput = z.infer<typeof ListQuery>;
export const LIMIT_DEFAULT = 20;

/** A body that jsonBody has read. */
export function body<T extends z.ZodType>(schema: T) {
  return zValidator("json", schema, (result) => {
    if (!result.success) throw invalid(result.error.issues, "json");
  });
}

export function query<T extends z.ZodType>(schema: T) {
  return zValidator("query", schema, (result) => {
    if (!result.success) throw invalid(result.error.issues, "query");
  });
}

/** Before `query`: Hono takes bad percent-encoding as text, so it is refused here. */
export const strictQuery: MiddlewareHandler<{ Bindings: Call }> = async (c, next) => {
  for (const pair of c.env.path.query.split("&")) {
    const [name = "", ...value] = pair.split("=");
    decodeQuery(value.join("="), decodeQuery(name, "query"));
  }
  await next();
};
