import { after, countsJson, quoted, read } from "./answer.ts";
import type { Call } from "./call.ts";
import { actorIn } from "./catalog.ts";
import { placeOf } from "./cursor.ts";
import type { HandlerDeps } from "./deps.ts";
import { LIMIT_DEFAULT, type ListInput } from "./input.ts";
import { pageJson } from "./subjects.ts";

/** What is asked of `/v1/actors/{actor}` and below. */
export function actorHandlers({ catalog, counting }: HandlerDeps) {
  return {
    /** GET /v1/actors/{actor} */
    actor(call: Call): Response | Promise<Response> {
      const actor = actorIn(call, 3);
      const relations = catalog.relations;
      return after(counting.actorCounts(actor, relations), (counts) =>
        read(call, `{"actor":${quoted(actor)},"counts":${countsJson(relations, counts)}}`),
      );
    },

    /** GET /v1/actors/{actor}/{relation} */
    async subjects(call: Call, { limit = LIMIT_DEFAULT, cursor, type }: ListInput): Promise<Response> {
      const actor = actorIn(call, 3);
      const metric = catalog.of("relation", call.part(4, "metric"));
      if (type !== undefined) catalog.type(type);
      const list = ["subjects", metric.name, actor, type ?? ""];
      const before = cursor === undefined ? undefined : placeOf(list, cursor);
      const page = await counting.subjects(metric, actor, {
        limit,
        ...(before === undefined ? {} : { before }),
        ...(type === undefined ? {} : { type }),
      });
      const [count] = await counting.actorCounts(actor, [metric], type);
      return read(call, `{"count":${count},${pageJson(page, "subjects", "subject", list)}}`);
    },
  };
}
