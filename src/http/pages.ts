import { badInput } from "../errors.ts";
import { PAGE_BODY_BYTES_MAX } from "../limits.ts";
import type { Metric, Subject } from "../model.ts";
import type { Known, KnownActors, Page, PageQuery } from "../ports/counting.ts";
import { after, quoted, read } from "./answer.ts";
import { readJson } from "./body.ts";
import type { Call } from "./call.ts";
import { actorOf, type Catalog } from "./catalog.ts";
import type { HandlerDeps } from "./deps.ts";
import { type PageInput, pageInput } from "./page-input.ts";

/** Whom an actor knows, by name; null: nobody does. */
type KnownNames = { relation: string; type: string } | null;

interface PageDeps extends Pick<HandlerDeps, "catalog" | "counting"> {
  knownNames: KnownNames;
  /** A page leaves behind what so many small answers do. */
  litter: (answers: number) => void;
}

/** A small answer's garbage is about that of so many subjects. */
const SUBJECTS_PER_ANSWER = 8;

/** POST /v1/query: counts, and what an actor has to do with them, of many subjects in one answer. */
export function pageHandler({ catalog, counting, knownNames, litter }: PageDeps) {
  return async (call: Call): Promise<Response> => {
    const input = pageInput(await readJson(call, PAGE_BODY_BYTES_MAX));
    const actor = input.actor === undefined ? null : actorOf(input.actor, call.caller, "/actor");
    const metrics = input.metrics ? [...new Set(input.metrics)].map((name) => catalog.metric(name)) : catalog.all;
    catalog.knowTypesOf(input.subjects);
    const known = input.known ? knownOf(input, catalog, knownNames) : null;
    const distinct = new Set(input.subjects);
    const subjects = distinct.size === input.subjects.length ? input.subjects : [...distinct];
    const query: PageQuery = { subjects, metrics, actor, known };
    litter(subjects.length / SUBJECTS_PER_ANSWER);
    const page = counting.page(query);
    return after(page, (page) => read(call, pageJson(query, page, input.subjects)));
  };
}

function knownOf(input: PageInput, catalog: Catalog, names: KnownNames): Known {
  if (names === null)
    throw badInput("/known", "the setting `known` says whom an actor knows, as in {relation: follows, type: user}");
  if (input.actor === undefined) throw badInput("/known", "takes an actor: whom somebody knows depends on who asks");
  return { relation: catalog.of("relation", names.relation), type: names.type };
}

/**
 * `{"items":[…]}`. By hand, in one list of pieces: half the time of JSON.stringify's objects or of a string for each item.
 */
function pageJson({ subjects, metrics, actor, known }: PageQuery, page: Page, asked: readonly Subject[]): string {
  const relations = metrics.filter(({ kind }) => kind === "relation");
  const heads = metrics.map(({ name }, i) => `${i > 0 ? "," : ""}"${name}":`);
  const placeOf = asked === subjects ? null : new Map(subjects.map((subject, i) => [subject, i]));
  const pieces: (string | number)[] = ['{"items":['];
  for (let i = 0; i < asked.length; i++) {
    const subject = asked[i] as Subject;
    const place = placeOf ? (placeOf.get(subject) as number) : i;
    pieces.push(i > 0 ? ',{"subject":' : '{"subject":', quoted(subject), ',"counts":{');
    for (let j = 0, at = place * heads.length; j < heads.length; j++, at++) {
      pieces.push(heads[j] as string, page.counts[at] as number);
    }
    pieces.push("}");
    const from = place * relations.length;
    if (actor !== null) pieces.push(',"mine":', mineJson(relations, page.mine, from));
    if (known !== null) pieces.push(',"known":', knownJson(relations, page.known, from));
    pieces.push("}");
  }
  pieces.push("]}");
  return pieces.join("");
}

function mineJson(relations: readonly Metric[], mine: readonly boolean[], from: number): string {
  let json = "";
  for (let i = 0; i < relations.length; i++) {
    if (mine[from + i]) json += `${json === "" ? "[" : ","}"${(relations[i] as Metric).name}"`;
  }
  return json === "" ? "[]" : `${json}]`;
}

function knownJson(relations: readonly Metric[], known: readonly KnownActors[], from: number): string {
  const parts = relations.map(({ name }, i) => {
    const { count, actors } = known[from + i] as KnownActors;
    return `"${name}":{"count":${count},"actors":[${actors.map(quoted).join(",")}]}`;
  });
  return `{${parts.join(",")}}`;
}
