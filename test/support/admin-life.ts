import { expect } from "bun:test";
import type { AdminModel } from "./admin-model.ts";
import { eventually } from "./eventually.ts";
import type { TestServer } from "./server.ts";

export const SUBJECTS = ["article/one", "article/two", "user/😀"];
export const ACTORS = ["x", "y", "z", "é", "e\u0301", "__proto__"];

export type Job = "set" | "erase-subject" | "erase-actor" | "merge";
export const JOBS: Job[] = ["set", "erase-subject", "erase-actor", "merge"];

export const pathOf = (subject: string) => {
  const [type, id] = subject.split("/") as [string, string];
  return `/v1/subjects/${type}/${encodeURIComponent(id)}`;
};

/** Null where no answer came. */
export async function send(server: TestServer, method: string, path: string, json?: object): Promise<number | null> {
  const init = json ? { body: JSON.stringify(json), headers: { "content-type": "application/json" } } : {};
  return fetch(new URL(path, server.url), { method, ...init }).then(
    async (answer) => {
      await answer.text();
      return answer.status;
    },
    () => null,
  );
}

/** Some of everything, in the ledger and on the way to it. */
export async function fill(server: TestServer, model: AdminModel, round: number): Promise<void> {
  for (const [i, subject] of SUBJECTS.entries()) {
    model.views.set(subject, model.count("views", subject) + 3 + i);
    expect(await send(server, "POST", `${pathOf(subject)}/views`, { by: 3 + i })).toBe(200);
    for (const [j, actor] of ACTORS.entries()) {
      const isActive = (i + j + round) % 3 !== 0;
      const actors = model.actors("likes", subject);
      if (isActive && !actors.has(actor)) actors.set(actor, "");
      if (!isActive) actors.delete(actor);
      const path = `${pathOf(subject)}/likes/${encodeURIComponent(actor)}`;
      // 202 while a projector that was killed still counts as the one who reads the log.
      await eventually(async () => expect(await send(server, isActive ? "PUT" : "DELETE", path)).toBe(200));
    }
  }
}

export function ask(server: TestServer, job: Job): Promise<number | null> {
  if (job === "set") return send(server, "PUT", `${pathOf("article/one")}/views`, { count: 1000 });
  if (job === "erase-subject") return send(server, "DELETE", pathOf("article/one"));
  if (job === "erase-actor") return send(server, "DELETE", "/v1/actors/x");
  return send(server, "POST", "/v1/merge", { from: "article/one", to: "article/two" });
}

export function done(model: AdminModel, job: Job): void {
  if (job === "set") model.views.set("article/one", 1000);
  else if (job === "erase-subject") model.eraseSubject("article/one");
  else if (job === "erase-actor") model.eraseActor("x");
  else model.merge("article/one", "article/two");
}

/** What is stored of all subjects and actors, in words. */
export async function shown(server: TestServer): Promise<string[]> {
  const lines: string[] = [];
  for (const subject of SUBJECTS) {
    const { counts } = await server.json<{ counts: Record<string, number> }>(pathOf(subject));
    const { actors } = await server.json<{ actors: { actor: string }[] }>(`${pathOf(subject)}/likes?limit=100`);
    const names = actors.map(({ actor }) => actor).sort();
    lines.push(`${subject}: ${counts.views} views, ${counts.likes} likes of ${names}`);
  }
  for (const actor of ACTORS) {
    const path = `/v1/actors/${encodeURIComponent(actor)}/likes?limit=100`;
    const { count, subjects } = await server.json<{ count: number; subjects: { subject: string }[] }>(path);
    lines.push(`${actor}: ${count}, ${subjects.map(({ subject }) => subject).sort()}`);
  }
  return lines;
}

export function expected(model: AdminModel): string[] {
  return [
    ...SUBJECTS.map((subject) => {
      const names = [...model.actors("likes", subject).keys()].sort();
      return `${subject}: ${model.count("views", subject)} views, ${names.length} likes of ${names}`;
    }),
    ...ACTORS.map((actor) => {
      const subjects = model.subjects("likes", actor);
      return `${actor}: ${subjects.length}, ${subjects}`;
    }),
  ];
}
