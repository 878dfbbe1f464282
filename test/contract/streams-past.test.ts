import { afterAll, expect, test } from "bun:test";
import { join } from "node:path";
import { Api } from "../support/contract.ts";
import { EventReader } from "../support/event-reader.ts";
import { inFolder, runTally, TestServer } from "../support/server.ts";

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
    const api = new Api();
    api.urls = [server.url];
    await api.post(`${PATH}/views`);
    const followed = [SUBJECT, "article/now"];
    const readers = await Promise.all(
      Array.from({ length: READERS }, () => EventReader.follow(server.url, followed, ["views", "likes"])),
    );
    for (const reader of readers) await reader.until(4);

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
      const sent = await fetch(new URL("/v1/events", server.url), {
        method: "POST",
        headers: { "content-type": "application/x-ndjson", ...headers },
        body,
      });
      expect(await sent.json()).toMatchObject({ accepted: 2, rejected: 0 });
    }
    const file = join(folder, "lines.ndjson");
    await Bun.write(file, `${body.replaceAll("line", "imported")}\n`);
    expect((await runTally(["import", file, "--data", data])).status).toBe(0);
    expect((await api.get(PATH)).json.counts).toMatchObject({ views: 1 + 80 + 15, likes: 41 });

    // Whoever has been told of this has looked at all that was before it.
    await api.put("/v1/subjects/article/now/likes/7");
    for (const reader of readers) {
      await reader.untilCount("article/now", "likes", 1);
      expect(reader.events.slice(4).map((event) => event.data)).toEqual([
        { subject: "article/now", metric: "likes", count: 1 },
      ]);
    }
    await api.post(`${PATH}/views`);
    await api.put(`${PATH}/likes/now`);
    for (const reader of readers) {
      await reader.untilCount(SUBJECT, "views", 97);
      await reader.untilCount(SUBJECT, "likes", 42);
      expect(reader.events.length).toBe(7);
      await reader.close();
    }
    expect(await server.stop()).toEqual({ status: 0, signal: null });
  });
}, 60_000);
