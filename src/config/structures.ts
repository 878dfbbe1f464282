import { z } from "zod";
import { WEBHOOK_URL_BYTES_MAX } from "../limits.ts";
import { type MetricSetting, NAME_PATTERN } from "../model.ts";
import { bool, count, duration, httpUrl, list, name, network, oneOf, structure, text } from "./schemas.ts";
import type { KnownSetting, WebhookSetting } from "./settings.ts";

/** Each is looked at whenever the count of its metric changes. */
const MILESTONES_MAX = 1_000;
const COUNTS = "must be a list of counts, such as [100, 1000]";
const SECOND = 1000;
const DAY = 86_400_000;
/** The stores number metrics 1 to 255. */
const METRICS_MAX = 255;

function parts<S extends z.ZodRawShape>(shape: S, what: string) {
  return z.strictObject(shape, {
    error: (issue) =>
      issue.code === "unrecognized_keys"
        ? `is not known here; there are ${Object.keys(shape).join(", ")}`
        : `must be ${what}`,
  });
}

const TALLY = parts(
  {
    kind: z.literal("tally"),
    unique: duration(SECOND, 365 * DAY).optional(),
    bots: oneOf(["drop", "count"]).optional(),
    allow: list(text).optional(),
    ignore: list(network).optional(),
    distinct: bool.optional(),
  },
  "a tally, such as {kind: tally, unique: 30m}",
);
const RELATION = parts({ kind: z.literal("relation") }, "{kind: relation}");

const METRIC = z.preprocess(
  (raw) => (typeof raw === "string" ? { kind: raw } : raw),
  z.discriminatedUnion("kind", [TALLY, RELATION], {
    error: (issue) =>
      issue.code === "invalid_union" ? "must be tally or relation" : "must be {kind: tally} or {kind: relation}",
  }),
);

/** `{views: {kind: tally}, likes: relation}` → in that order, each with its name. */
export const metrics: z.ZodType<MetricSetting[]> = structure(
  z
    .record(z.string().regex(NAME_PATTERN), METRIC, {
      error: (issue) =>
        issue.code === "invalid_key"
          ? `is no name of a metric: they match ${NAME_PATTERN.source}`
          : "must be a mapping of names to kinds, such as {views: {kind: tally}, likes: {kind: relation}}",
    })
    .refine((record) => Object.keys(record).length > 0, "must hold at least one metric")
    .refine((record) => Object.keys(record).length <= METRICS_MAX, `must hold at most ${METRICS_MAX} metrics`)
    .transform((record) => Object.entries(record).map(([metric, rest]) => ({ name: metric, ...rest }))),
);

/** How the default is written where it is written. */
const ANY = "any";
export const types: z.ZodType<string[] | null> = list(name)
  .refine((all) => !all.includes(ANY) || all.length === 1, `must be names of types, or ${ANY} alone: it stands for all`)
  .transform((all) => (all.length === 0 || all[0] === ANY ? null : all));

export const known: z.ZodType<KnownSetting | null> = structure(
  parts({ relation: name, type: name }, "a relation and a type, such as {relation: follows, type: user}"),
);

export const webhooks: z.ZodType<WebhookSetting[]> = structure(
  z.array(
    parts(
      {
        metric: name,
        at: z
          .array(count(1, Number.MAX_SAFE_INTEGER), { error: COUNTS })
          .min(1, COUNTS)
          .max(MILESTONES_MAX, `must be at most ${MILESTONES_MAX} counts`),
        url: httpUrl.refine((url) => Buffer.byteLength(url) <= WEBHOOK_URL_BYTES_MAX, {
          error: `must be at most ${WEBHOOK_URL_BYTES_MAX} bytes long`,
        }),
        secret: text.refine(isSecret, { error: "begins with whsec_, and what follows is not base64" }),
      },
      'a webhook, such as {metric: likes, at: [100], url: "https://…", secret: "…"}',
    ),
    { error: "must be a list of webhooks" },
  ),
);

/** As Standard Webhooks writes secrets, or any text. */
function isSecret(secret: string): boolean {
  return (
    !secret.startsWith("whsec_") ||
    /^whsec_(?:[A-Za-z0-9+/]{4})+(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(secret)
  );
}
