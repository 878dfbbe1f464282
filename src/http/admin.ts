import { badInput } from "../errors.ts";
import { type Subject, subjectProblem } from "../model.ts";
import type { Admin } from "../ports/admin.ts";
import type { MergeInput, SetInput } from "./admin-input.ts";
import { accepted, countsJson, done, quoted } from "./answer.ts";
import type { Call } from "./call.ts";
import { actorIn, type Catalog } from "./catalog.ts";
import { onceOf } from "./once.ts";

/** What takes the role admin. `patient`: this request may take long, and nobody hangs up on it. */
export function adminHandlers({
  catalog,
  admin,
  patient,
}: {
  catalog: Catalog;
  admin: Admin;
  patient: (request: Request) => void;
}) {
  return {
    /** PUT …/{tally} */
    async set(call: Call, { count }: SetInput): Promise<Response> {
      const subject = catalog.subjectIn(call);
      const metric = catalog.of("tally", call.part(5, "metric"));
      const shown = await admin.set(metric, subject, count, onceOf(call, [subject, metric.name]));
      return shown === null ? accepted(call, "{}") : done(call, `{"count":${shown}}`);
    },

    /** DELETE …/{id} */
    async eraseSubject(call: Call): Promise<Response> {
      const subject = catalog.subjectIn(call);
      const metrics = catalog.all;
      patient(call.request);
      const { counts, isShown } = await admin.eraseSubject(subject, metrics, onceOf(call, [subject]));
      return (isShown ? done : accepted)(call, `{"subject":${quoted(subject)}${erasedJson(metrics, counts)}}`);
    },

    /** DELETE /v1/actors/{actor} */
    async eraseActor(call: Call): Promise<Response> {
      const actor = actorIn(call, 3);
      const relations = catalog.relations;
      patient(call.request);
      // Not the actor's name alone, which may be a subject's.
      const once = onceOf(call, ["actor", actor]);
      const { counts, isShown } = await admin.eraseActor(actor, relations, once);
      return (isShown ? done : accepted)(call, `{"actor":${quoted(actor)}${erasedJson(relations, counts)}}`);
    },

    /** POST /v1/merge */
    async merge(call: Call, input: MergeInput): Promise<Response> {
      const [from, to] = [subjectAt(input.from, "/from"), subjectAt(input.to, "/to")];
      if (from === to) throw badInput("/to", "must be another subject than /from");
      const metrics = catalog.all;
      patient(call.request);
      const counts = await admin.merge(from, to, metrics, onceOf(call, ["merge"]));
      if (counts === null) return accepted(call, `{"to":${quoted(to)}}`);
      return done(call, `{"to":${quoted(to)},"counts":${countsJson(metrics, counts)}}`);
    },
  };

  function subjectAt(subject: string, at: string): Subject {
    const problem = subjectProblem(subject);
    if (problem) throw badInput(at, problem);
    catalog.type(subject.slice(0, subject.indexOf("/")));
    return subject;
  }
}

function erasedJson(metrics: readonly { name: string }[], counts: readonly number[] | null): string {
  return counts === null ? "" : `,"erased":${countsJson(metrics, counts)}`;
}
