import { expect } from "bun:test";
import { AdminModel } from "../support/admin-model.ts";
import type { Api } from "../support/contract.ts";
import { random } from "../support/random.ts";

export const NONE = { views: 0, shares: 0, likes: 0, favorites: 0, follows: 0 };
export const ODD = [
  "é",
  "e\u0301",
  "Bob",
  "bob",
  "bob ",
  "😀",
  "a/b",
  "__proto__",
  "'; --",
  "%2F",
  "x".repeat(128),
  "ß",
  '"',
];
export const pathOf = (subject: string) => {
  const slash = subject.indexOf("/");
  return `/v1/subjects/${subject.slice(0, slash)}/${encodeURIComponent(subject.slice(slash + 1))}`;
};

/** The ids of a whole list. */
export async function everyone(api: Api, path: string): Promise<string[]> {
  const ids: string[] = [];
  for (let cursor: string | null = ""; cursor !== null; ) {
    const { json } = await api.get(`${path}?limit=37${cursor && `&cursor=${encodeURIComponent(cursor)}`}`);
    const items: Record<string, string>[] = json.actors ?? json.subjects;
    ids.push(...items.map((item) => item.actor ?? item.subject ?? ""));
    cursor = json.next;
  }
  return ids;
}

/** One after the other, so that there is only one right answer to each. */
export async function runAgainstModel(api: Api, { seed, steps }: { seed: number; steps: number }): Promise<void> {
  const { below, chance, pick } = random(seed);
  const model = new AdminModel();
  const subjects = Array.from({ length: 6 }, (_, i) =>
    `${i % 2 ? "user" : "article"}/m${seed}-${pick(ODD)}${i}`.slice(0, 120),
  );
  const names = ["a", "A", "é", "e\u0301", "😀", "b c"].map((name) => `${name}-plain-${seed}`);
  for (let step = 0; step < steps; step++) {
    const subject = pick(subjects);
    const path = pathOf(subject);
    const actor = pick(names);
    const at = below(100);
    if (at < 25) {
      const by = 1 + below(9);
      model.views.set(subject, model.count("views", subject) + by);
      expect((await api.post(`${path}/views`, { json: { by } })).json).toEqual({
        count: model.count("views", subject),
      });
    } else if (at < 75) {
      await act(api, model, { subject, metric: pick(AdminModel.RELATIONS), actor, isActive: chance(0.7) });
    } else if (at < 82) {
      const count = below(1000);
      model.views.set(subject, count);
      expect((await api.put(`${path}/views`, { json: { count } })).json).toEqual({ count });
    } else if (at < 88) {
      const erased = model.eraseSubject(subject);
      expect((await api.delete(path)).json).toEqual({ subject, erased: { ...NONE, ...erased } });
    } else if (at < 92) {
      const erased = model.eraseActor(actor);
      const reply = await api.delete(`/v1/actors/${encodeURIComponent(actor)}`);
      expect(reply.json).toEqual({ actor, erased: { favorites: 0, ...erased } });
    } else {
      const to = pick(subjects.filter((other) => other !== subject));
      model.merge(subject, to);
      expect((await api.post("/v1/merge", { json: { from: subject, to } })).json.counts).toEqual(countsOf(model, to));
    }
    if (step % 25 === 24) await compare(api, model, subjects, names);
  }
}

async function act(
  api: Api,
  model: AdminModel,
  { subject, metric, actor, isActive }: { subject: string; metric: string; actor: string; isActive: boolean },
): Promise<void> {
  const actors = model.actors(metric, subject);
  const changed = actors.has(actor) !== isActive;
  const path = `${pathOf(subject)}/${metric}/${encodeURIComponent(actor)}`;
  const reply = await (isActive ? api.put(path) : api.delete(path));
  if (changed && isActive) actors.set(actor, reply.json.at);
  else if (changed) actors.delete(actor);
  expect(reply.json).toMatchObject({ active: isActive, changed, count: actors.size });
  if (isActive) expect(reply.json.at).toBe(actors.get(actor));
}

function countsOf(model: AdminModel, subject: string): Record<string, number> {
  return {
    ...NONE,
    ...Object.fromEntries(["views", ...AdminModel.RELATIONS].map((metric) => [metric, model.count(metric, subject)])),
  };
}

async function compare(api: Api, model: AdminModel, subjects: string[], names: string[]): Promise<void> {
  for (const subject of subjects) {
    expect((await api.get(pathOf(subject))).json.counts).toEqual(countsOf(model, subject));
    for (const metric of AdminModel.RELATIONS) {
      const { actors } = (await api.get(`${pathOf(subject)}/${metric}?limit=100`)).json;
      const found = Object.fromEntries(actors.map((item: { actor: string; at: string }) => [item.actor, item.at]));
      expect(found).toEqual(Object.fromEntries(model.actors(metric, subject)));
    }
  }
  for (const actor of names) {
    for (const metric of AdminModel.RELATIONS) {
      const path = `/v1/actors/${encodeURIComponent(actor)}/${metric}`;
      expect((await everyone(api, path)).sort()).toEqual(model.subjects(metric, actor));
    }
  }
}
