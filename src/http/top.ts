import { z } from "zod";
import { HOT, WINDOWS, type WindowName } from "../arithmetic/windows.ts";
import type { Rankings, TopList } from "../ports/rankings.ts";
import { after, quoted, read } from "./answer.ts";
import type { Call } from "./call.ts";
import type { Catalog } from "./catalog.ts";
import { secondOf } from "./history.ts";
import { LIMIT_DEFAULT, ListQuery } from "./input.ts";

const UNKNOWN = `must be one of ${WINDOWS.join(", ")}`;
export const TopQuery = z.object({
  window: z.enum(WINDOWS, { error: ({ input }) => (Array.isArray(input) ? "must be given once" : UNKNOWN) }).optional(),
  limit: ListQuery.shape.limit,
});
type TopInput = z.infer<typeof TopQuery>;

const WINDOW_DEFAULT: WindowName = "24h";
/** Of a score: more would only show how it was added up. */
const SCORE_DIGITS = 12;

/** GET /v1/top/{type}/{metric} */
export function topHandler({ catalog, rankings }: { catalog: Catalog; rankings: Rankings }) {
  return (call: Call, { window = WINDOW_DEFAULT, limit = LIMIT_DEFAULT }: TopInput): Response | Promise<Response> => {
    const type = catalog.type(call.part(3, "type"));
    const metric = catalog.metric(call.part(4, "metric"));
    return after(rankings.top(metric, type, window), (list) => {
      const head = `"type":"${type}","metric":"${metric.name}","window":"${window}"`;
      return read(call, `{${head},${listJson(list, window, limit)}}`);
    });
  };
}

function listJson({ from, to, error, items }: TopList, window: WindowName, limit: number): string {
  const isHot = window === WINDOWS[HOT];
  const numberOf = (value: number) => (isHot ? Number(value.toPrecision(SCORE_DIGITS)) : value);
  const name = isHot ? "score" : "count";
  const rows = items
    .slice(0, limit)
    .map(({ subject, value }, i) => `{"rank":${i + 1},"subject":${quoted(subject)},"${name}":${numberOf(value)}}`);
  const exact = error === 0 ? '"exact":true' : `"exact":false,"error":${numberOf(error)}`;
  return `"from":"${secondOf(from)}","to":"${secondOf(to)}",${exact},"items":[${rows.join(",")}]`;
}
