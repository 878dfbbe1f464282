import { Problem } from "../errors.ts";
import type { Metric, Subject } from "../model.ts";
import type { ListPage } from "../ports/counting.ts";
import { accepted, after, countsJson, done, namesJson, quoted, read, time } from "./answer.ts";
import type { Call } from "./call.ts";
import { actorIn, actorOf } from "./catalog.ts";
import { cursorOf, placeOf } from "./cursor.ts";
import type { HandlerDeps } from "./deps.ts";
import { type CountInput, LIMIT_DEFAULT, type ListInput, type RelateInput, type SubjectInput } from "./input.ts";
import { allowAt } from "./moment.ts";
import { onceOf } from "./once.ts";
import { COUNTS } from "./rules.ts";
import { addEvent, codeFor, type TallyEvent } from "./visitor.ts";

type Answer = Response | Promise<Response>;
/** Nothing given. */
const NONE = {};
/** The first one holds, where it is said more than once (RFC 7240). */
const RETURN = /(?:^|[,;])\s*return\s*=\s*"?([a-z]+)"?\s*(?:[,;]|$)/i;

/** What is asked of `/v1/subjects/{type}/{id}` and below. The input is checked; bodies and queries by their schemas. */
export function subjectHandlers({ catalog, counting, rules, stats }: HandlerDeps) {
  const subjectIn = (call: Call): Subject => catalog.subjectIn(call);
  const metricIn = (call: Call): string => call.part(5, "metric");

  return {
    /** POST …/{tally} */
    count(call: Call, { by = 1, actor, at }: CountInput = NONE): Answer {
      const subject = subjectIn(call);
      const metric = catalog.of("tally", metricIn(call));
      const whose = actor === undefined ? call.caller.actor : actorOf(actor, call.caller, "/actor");
      allowAt(at, call.caller);
      const once = onceOf(call, [subject, metric.name]);
      if (metric.distinct === true || rules.has(metric))
        return countVisit(call, metric, { subject, by, actor: whose, once, at });
      const isOwnRecord = once !== undefined || at !== undefined;
      const count = isOwnRecord ? counting.addOnce(metric, subject, by, once, at) : counting.add(metric, subject, by);
      return after<number | null, Response>(count, (count) => {
        stats.counted(metric.id, by);
        return counted(call, count);
      });
    },

    /** PUT and DELETE …/{relation}/{actor} */
    relate(call: Call, active: boolean, { at }: RelateInput = NONE): Promise<Response> {
      const subject = subjectIn(call);
      const metric = catalog.of("relation", metricIn(call));
      const actor = actorIn(call, 6);
      allowAt(at, call.caller);
      const once = onceOf(call, [subject, metric.name, actor]);
      return counting.relate(metric, subject, actor, active, once, at).then(({ active, changed, count, at }) => {
        stats.counted(metric.id, 1);
        if (count === null)
          return accepted(call, at === null ? `{"active":${active}}` : `{"active":${active},"at":${time(at)}}`);
        return done(call, `{"active":${active},"changed":${changed},"count":${count},"at":${time(at)}}`);
      });
    },

    /** GET …/{relation}/{actor} */
    relation(call: Call): Answer {
      const subject = subjectIn(call);
      const metric = catalog.of("relation", metricIn(call));
      return after(counting.relation(metric, subject, actorIn(call, 6)), ({ active, count, at }) =>
        read(call, `{"active":${active},"count":${count},"at":${time(active ? at : null)}}`),
      );
    },

    /** GET …/{id} */
    subject(call: Call, { actor }: SubjectInput = NONE): Answer {
      const subject = subjectIn(call);
      const metrics = catalog.all;
      const mine =
        actor === undefined ? null : counting.mine(subject, actorOf(actor, call.caller, "actor"), catalog.relations);
      const counts = counting.counts(subject, metrics);
      const answer = (counts: number[], mine: string[] | null) => {
        const mineJson = mine === null ? "" : `,"mine":${namesJson(mine)}`;
        return read(call, `{"subject":${quoted(subject)},"counts":${countsJson(metrics, counts)}${mineJson}}`);
      };
      if (mine instanceof Promise || counts instanceof Promise)
        return Promise.all([counts, mine]).then(([counts, mine]) => answer(counts, mine));
      return answer(counts, mine);
    },

    /** GET …/{metric} */
    metric(call: Call, { limit, cursor }: ListInput = NONE): Answer {
      const subject = subjectIn(call);
      const isList = limit !== undefined || cursor !== undefined;
      const metric = isList ? catalog.of("relation", metricIn(call)) : catalog.metric(metricIn(call));
      const head = (counts: number[]) => `{"subject":${quoted(subject)},"metric":"${metric.name}","count":${counts[0]}`;
      if (!isList) {
        const counts = counting.counts(subject, [metric]);
        if (metric.distinct === true) return withDistinct(call, { metric, subject, counts, head });
        return after(counts, (counts) => read(call, `${head(counts)}}`));
      }
      return actorList(call, metric, subject, { limit, cursor, head });
    },
  };

  /** An event of a tally that has rules, or sketches of its visitors. */
  async function countVisit(call: Call, metric: Metric, event: TallyEvent): Promise<Response> {
    const { subject, by, actor, once, at } = event;
    const visit = rules.visit(call);
    // With `at` somebody tells of what was: nobody is visiting now.
    const verdict =
      at === undefined ? await rules.judge(metric, visit, { subject, actor, ...(once && { once }) }) : COUNTS;
    if (verdict.reason !== null) {
      stats.leftOut(metric.id, verdict.reason, by);
      return leftOut(call, await countNow(metric, subject));
    }
    try {
      const count = await addEvent(counting, metric, event, await codeFor(metric, event, () => rules.nameOf(visit)));
      stats.counted(metric.id, by);
      return counted(call, count);
    } catch (error) {
      verdict.release();
      throw error;
    }
  }

  /** Null where it cannot be known: that the event is left out can be said all the same. */
  async function countNow(metric: Metric, subject: Subject): Promise<number | null> {
    try {
      const [count = null] = await counting.counts(subject, [metric]);
      return count;
    } catch (error) {
      if (error instanceof Problem && error.code === "unavailable") return null;
      throw error;
    }
  }

  async function withDistinct(
    call: Call,
    of: {
      metric: Metric;
      subject: Subject;
      counts: number[] | Promise<number[]>;
      head: (counts: number[]) => string;
    },
  ): Promise<Response> {
    const [counts, { today, all }] = await Promise.all([of.counts, counting.distinct(of.metric, of.subject)]);
    return read(call, `${of.head(counts)},"distinct":{"today":${today},"all":${all}}}`);
  }

  async function actorList(
    call: Call,
    metric: Metric,
    subject: Subject,
    { limit = LIMIT_DEFAULT, cursor, head }: ListInput & { head: (counts: number[]) => string },
  ): Promise<Response> {
    const list = ["actors", metric.name, subject];
    const before = cursor === undefined ? undefined : placeOf(list, cursor);
    const page = await counting.actors(metric, subject, before === undefined ? { limit } : { limit, before });
    const counts = await counting.counts(subject, [metric]);
    return read(call, `${head(counts)},${pageJson(page, "actors", "actor", list)}}`);
  }
}

/** `"actors":[{"actor":"7","at":"…"}],"next":null` */
export function pageJson(page: ListPage, name: string, item: string, list: readonly string[]): string {
  const items = page.items.map(({ id, at }) => `{"${item}":${quoted(id)},"at":${time(at)}}`);
  const last = page.items.at(-1);
  const next = page.more && last ? `"${cursorOf(list, last)}"` : "null";
  return `"${name}":[${items.join(",")}],"next":${next}`;
}

function counted(call: Call, count: number | null): Response {
  if (count === null) return accepted(call, "{}");
  return wantsMinimal(call) ? minimal(call) : done(call, `{"count":${count}}`);
}

function leftOut(call: Call, count: number | null): Response {
  if (count === null) return accepted(call, '{"counted":false}');
  return wantsMinimal(call) ? minimal(call) : done(call, `{"count":${count},"counted":false}`);
}

function wantsMinimal(call: Call): boolean {
  const { prefer } = call.headers;
  return prefer !== undefined && RETURN.exec(prefer)?.[1]?.toLowerCase() === "minimal";
}

function minimal(call: Call): Response {
  return new Response(null, {
    status: 204,
    headers: { "preference-applied": "return=minimal", "x-request-id": call.id },
  });
}
