import { wallMs } from "../lib/fault.ts";
import type { Histories, HourAmounts } from "../ports/histories.ts";
import { after, read } from "./answer.ts";
import type { Call } from "./call.ts";
import type { Catalog } from "./catalog.ts";
import { type HistoryInput, type Steps, stepsOf } from "./history-query.ts";

/** GET /v1/history/{type}/{id}/{metric} */
export function historyHandler({ catalog, histories }: { catalog: Catalog; histories: Histories }) {
  return (call: Call, input: HistoryInput): Response | Promise<Response> => {
    const subject = catalog.subjectIn(call);
    const metric = catalog.metric(call.part(5, "metric"));
    const steps = stepsOf(input, wallMs());
    return after(histories.hours(metric, subject, steps.from, steps.to), (hours) =>
      read(call, `{"step":"${steps.step}","points":[${pointsOf(steps, hours)}]}`),
    );
  };
}

function pointsOf({ seconds, from, to }: Steps, hours: HourAmounts): string {
  const amounts = new Float64Array((to - from) / seconds);
  for (const [at, amount] of hours) {
    const point = Math.floor((at - from) / seconds);
    amounts[point] = (amounts[point] as number) + amount;
  }
  return Array.from(amounts, (amount, i) => `{"at":"${secondOf(from + i * seconds)}","count":${amount}}`).join(",");
}

/** ISO 8601 without a fraction. */
export function secondOf(second: number): string {
  return `${new Date(second * 1000).toISOString().slice(0, 19)}Z`;
}
