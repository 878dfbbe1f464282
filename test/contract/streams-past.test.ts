import { afterAll, expect, test } from "bun:test";
import { join } from "node:path";
import { Api } from "../support/contract.ts";
import { EventReader } from "../support/event-reader.ts";
import { inFolder, runTally, TestServer } from "../support/server.ts";
import { TwoNodes } from "../support/two-nodes.ts";

const AT = "2024-02-29T12:00:00Z";
/** Connections enough that every request thread has some of them. */
const READERS = 12;
const SUBJECT = "article/past";
const PATH = `/v1/subjects/${SUBJECT}`;

afterAll(() => TestServer.killAll());

test("what happened long ago moves counts, and no stream tells it", async () => {
  await inFolder(async (folder) => {
    const data = join(folder, "data");
    const server = await TestServer.start({ data });
    await follow({ folder, urls: [server.url], flags: ["--data", data] });
    expect(await server.stop()).toEqual({ status: 0, signal: null });
  });
}, 60_000);

test("nor does one of another node", async () => {
  const nodes = await TwoNodes.start();
  await inFolder((folder) => {
    const urls = [0, 1].map((index) => nodes.server(index).url);
    return follow({ folder, urls, flags: nodes.ways(0).flags });
  });
  await hear([0, 1].map((index) => nodes.server(index).url));
  await nodes.stop();
}, 120_000);

/** Among acts of another time at the one node each act at the other node is told, once. */
async function hear(urls: string[]): Promise<void> {
  const subject = "article/among";
  const [past, now] = urls.map((url) => {
    const api = new Api();
    api.urls = [url];
    return api;
  }) as [Api, Api];
  const readers = await Promise.all(urls.map((url) => EventReader.follow(url, [subject], ["views", "likes"])));
  for (const reader of readers) await reader.until(2);
  for (let round = 1; round <= 10; round++) {
    const acts = Array.from({ length: 5 }, (_, i) => [
      past.put(`/v1/subjects/${subject}/likes/p${round}-${i}`, { json: { at: AT } }),
      past.post(`/v1/subjects/${subject}/views`, { json: { by: 2, at: AT } }),
    ]);
    await Promise.all([
      ...acts.flat(),
      now.put(`/v1/subjects/${subject}/likes/n${round}`),
      now.post(`/v1/subjects/${subject}/views`),
    ]);
    for (const reader of readers) {
      await reader.until(2 + 2 * round);
      expect([reader.of(subject, "likes").length, reader.of(subject, "views").length]).toEqual([1 + round, 1 + round]);
    }
  }
  await Bun.sleep(1_500);
  for (const reader of readers) {
    expect(reader.events.length).toBe(22);
    await reader.close();
  }
}

/** Readers at all servers, acts at the first one. */
async function follow({ folder, urls, flags }: { folder: string; urls: string[]; flags: string[] }): Promise<void> {
  const api = new Api();
  api.urls = urls.slice(0, 1);
  await api.post(`${PATH}/views`);
  const followed = [SUBJECT, "article/now"];
  const readers = await Promise.all(
    Array.from({ length: READERS }, (_, i) =>
      EventReader.follow(urls[i % urls.length] as string, followed, ["views", "likes"]),
    ),
  );
  const first = await Promise.all(
    readers.map(async (reader) => {
      await reader.until(4);
      // Others show it after a flush.
      await reader.untilCount(SUBJECT, "views", 1);
      return reader.events.length;
    }),
  );

  for (let i = 0; i < 40; i++) {
    await api.post(`${PATH}/views`, { json: { by: 2, at: AT } });
    await api.put(`${PATH}/likes/${i}`, { json: { at: AT } });
  }
  await api.delete(`${PATH}/likes/0`, { json: { at: "2024-03-01T00:00:00Z" } });
  const lines = [
    { metric: "views", subject: SUBJECT, by: 5, at: AT },
    { metric: "likes", subject: SUBJECT, actor: "line", at: AT },
  ];
  const body = lines.map((line) => JSON.stringify(line)).join("\n");
  for (const headers of [undefined, { "idempotency-key": "past" }]) {
    const sent = await fetch(new URL("/v1/events", api.urls[0]), {
      method: "POST",
      headers: { "content-type": "application/x-ndjson", ...headers },
      body,
    });
    expect(await sent.json()).toMatchObject({ accepted: 2, rejected: 0 });
  }
  const file = join(folder, "lines.ndjson");
  // One of them is there already.
  await Bun.write(file, `${body.replaceAll("line", "imported")}\n${body.split("\n")[1]}\n`);
  expect((await runTally(["import", file, ...flags])).status).toBe(0);
  expect((await api.get(PATH)).json.counts).toMatchObject({ views: 1 + 80 + 15, likes: 41 });

  // Whoever has been told of this has looked at all that was before it.
  await api.put("/v1/subjects/article/now/likes/7");
  for (const [i, reader] of readers.entries()) {
    await reader.untilCount("article/now", "likes", 1);
    expect(reader.events.slice(first[i]).map((event) => event.data)).toEqual([
      { subject: "article/now", metric: "likes", count: 1 },
    ]);
  }
  await api.post(`${PATH}/views`);
  await api.put(`${PATH}/likes/now`);
  for (const reader of readers) {
    await reader.untilCount(SUBJECT, "views", 97);
    await reader.untilCount(SUBJECT, "likes", 42);
  }
  // Nor is anything told later.
  await Bun.sleep(1_500);
  for (const [i, reader] of readers.entries()) {
    expect(reader.events.length).toBe((first[i] as number) + 3);
    await reader.close();
  }
}
