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
export type KnownNames = { relation: string; type: string } | null;

/** POST /v1/query: counts, and what an actor has to do with them, of many subjects in one answer. */
export function pageHandler({
  catalog,
  counting,
  knownNames,
}: Pick<HandlerDeps, "catalog" | "counting"> & { knownNames: KnownNames }) {
  return async (call: Call): Promise<Response> => {
    const input = pageInput(await readJson(call, PAGE_BODY_BYTES_MAX));
    const actor = input.actor === undefined ? null : actorOf(input.actor, call.caller, "/actor");
    const metrics = input.metrics ? [...new Set(input.metrics)].map((name) => catalog.metric(name)) : catalog.all;
    catalog.knowTypesOf(input.subjects);
    const known = input.known ? knownOf(input, catalog, knownNames) : null;
    const distinct = new Set(input.subjects);
    const subjects = distinct.size === input.subjects.length ? input.subjects : [...distinct];
    const query: PageQuery = { subjects, metrics, actor, known };
    return after(counting.page(query), (page) => {
      const items = itemsOf(query, page);
      const inOrder = subjects === input.subjects ? items : inOrderOf(input.subjects, subjects, items);
      return read(call, `{"items":[${inOrder.join(",")}]}`);
    });
  };
}

function knownOf(input: PageInput, catalog: Catalog, names: KnownNames): Known {
  if (names === null)
    throw badInput("/known", "the setting `known` says whom an actor knows, as in {relation: follows, type: user}");
  if (input.actor === undefined) throw badInput("/known", "takes an actor: whom somebody knows depends on who asks");
  return { relation: catalog.of("relation", names.relation), type: names.type };
}

/** Each subject's object. By hand: most of a page's time is its JSON. */
function itemsOf({ subjects, metrics, actor, known }: PageQuery, page: Page): string[] {
  const heads = metrics.map((metric, i) => `${i > 0 ? "," : ""}"${metric.name}":`);
  const relations = metrics.filter(({ kind }) => kind === "relation");
  const items: string[] = new Array(subjects.length);
  let at = 0;
  for (let i = 0; i < subjects.length; i++) {
    let item = `{"subject":${quoted(subjects[i] as Subject)},"counts":{`;
    for (let j = 0; j < heads.length; j++) item += (heads[j] as string) + page.counts[at++];
    item += "}";
    const from = i * relations.length;
    if (actor !== null) item += `,"mine":[${mineJson(relations, page.mine, from)}]`;
    if (known !== null) item += `,"known":{${knownJson(relations, page.known, from)}}`;
    items[i] = `${item}}`;
  }
  return items;
}

function mineJson(relations: readonly Metric[], mine: readonly boolean[], from: number): string {
  let json = "";
  for (let i = 0; i < relations.length; i++) {
    if (mine[from + i]) json += `${json === "" ? "" : ","}"${(relations[i] as Metric).name}"`;
  }
  return json;
}

function knownJson(relations: readonly Metric[], known: readonly KnownActors[], from: number): string {
  return relations
    .map(({ name }, i) => {
      const { count, actors } = known[from + i] as KnownActors;
      return `"${name}":{"count":${count},"actors":[${actors.map(quoted).join(",")}]}`;
    })
    .join(",");
}

function inOrderOf(asked: readonly Subject[], subjects: readonly Subject[], items: readonly string[]): string[] {
  const places = new Map(subjects.map((subject, i) => [subject, i]));
  return asked.map((subject) => items[places.get(subject) as number] as string);
}
