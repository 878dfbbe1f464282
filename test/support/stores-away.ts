import { expect } from "bun:test";
import { type Api, freshSubject, type Reply } from "./contract.ts";
import { eventually } from "./eventually.ts";
import type { TwoNodes } from "./two-nodes.ts";

/** "A store known to be away costs no answer more than 1 s", on a machine that does much else; twice a deadline is too long. */
const ANSWER_MS_MAX = 1_900;
export const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
export const STORES = ["redis", "kafka", "mysql"] as const;
export type StoreName = (typeof STORES)[number];

export async function soon(answer: Promise<Reply>): Promise<Reply> {
  const since = performance.now();
  const reply = await answer;
  expect(performance.now() - since).toBeLessThan(ANSWER_MS_MAX);
  return reply;
}

export async function untilDegraded(api: Api, ...names: StoreName[]): Promise<void> {
  await eventually(async () => {
    const reply = await api.get("/readyz");
    expect(reply.status).toBe(200);
    expect(reply.json.status).toBe("degraded");
    for (const name of names) {
      expect(reply.json.parts[name]).toMatchObject({ status: "down", since: expect.stringMatching(TIME) });
    }
  });
}

/** The log's thread has all of them back, which is what /readyz tells. */
export async function untilReady(api: Api): Promise<void> {
  await eventually(async () => expect((await api.get("/readyz")).json.status).toBe("ready"));
}

/** Each request thread has connections of its own, which come back in their own time: so many new ones find all threads. */
export async function untilAsked(api: Api): Promise<void> {
  await eventually(async () => {
    for (let i = 0; i < 20; i++) {
      const url = new URL(`${freshSubject().path}/likes/${i}`, api.url);
      expect((await fetch(url, { method: "PUT", keepalive: false })).status).toBe(200);
    }
  });
}

/** Everything that is known of the subject is the same on both nodes and in MySQL. */
export async function untilEqual(nodes: TwoNodes, subject: string, counts: Record<string, number>): Promise<void> {
  const path = `/v1/subjects/${subject}`;
  await eventually(async () => {
    for (const api of [nodes.api(0), nodes.api(1)]) expect((await api.get(path)).json?.counts).toMatchObject(counts);
    for (const [metric, count] of Object.entries(counts)) expect(await nodes.stored(subject, metric)).toBe(count);
  });
}
