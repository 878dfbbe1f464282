import { after, quoted, read } from "./answer.ts";
import type { Call } from "./call.ts";
import { cursorOf, placeOf } from "./cursor.ts";
import type { HandlerDeps } from "./deps.ts";
import { LIMIT_DEFAULT, type ListInput } from "./input.ts";

/** GET /v1/subjects: everything that shows a count above 0. */
export function countedHandler({ catalog, counting }: Pick<HandlerDeps, "catalog" | "counting">) {
  return (call: Call, { limit = LIMIT_DEFAULT, cursor, type }: ListInput): Response | Promise<Response> => {
    if (type !== undefined) catalog.type(type);
    const list = ["counted", type ?? ""];
    const from = cursor === undefined ? "" : placeOf(list, cursor).id;
    const query = { after: from, limit, metrics: catalog.all, ...(type === undefined ? {} : { type }) };
    return after(counting.counted(query), ({ subjects, next }) => {
      const nextJson = next === null ? "null" : `"${cursorOf(list, { stamp: 0, id: next })}"`;
      return read(call, `{"subjects":[${subjects.map(quoted).join(",")}],"next":${nextJson}}`);
    });
  };
}
