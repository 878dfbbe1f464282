import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BrowserContext, Page } from "playwright-core";
import { openBrowser } from "../support/browser.ts";
import { eventually } from "../support/eventually.ts";
import { TestServer } from "../support/server.ts";

/** What scripts find in a page, and leave there. */
interface InPage {
  navigator: { sendBeacon(url: string, data: string): boolean };
  EventSource: new (url: string) => { addEventListener(name: string, heard: (event: { data: string }) => void): void };
  counts: Record<string, number>;
  opened: number;
}

const html = () => new Response("<!doctype html><title>A site</title>", { headers: { "content-type": "text/html" } });
const sites = [Bun.serve({ port: 0, fetch: html }), Bun.serve({ port: 0, fetch: html })] as const;
const [listed, unlisted] = sites.map((site) => `http://127.0.0.1:${site.port}`) as [string, string];

let folder: string;
let browser: BrowserContext;
let server: TestServer;

function start(port = 0): Promise<TestServer> {
  return TestServer.start({
    data: join(folder, "data"),
    port,
    args: ["--config", join(folder, "tally.yaml"), "--anonymous", "count"],
    env: { TALLY_KEYS: "write:s-write" },
  });
}

function allow(...origins: string[]): void {
  writeFileSync(join(folder, "tally.yaml"), `corsOrigins: ${JSON.stringify(origins)}\n`);
}

async function open(origin: string): Promise<Page> {
  const page = await browser.newPage();
  await page.goto(`${origin}/`);
  return page;
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "tally-browser-"));
  allow(listed);
  [browser, server] = await Promise.all([openBrowser(join(folder, "profile")), start()]);
}, 60_000);
afterAll(async () => {
  await browser.close();
  await server.kill();
  for (const site of sites) await site.stop(true);
  rmSync(folder, { recursive: true });
}, 60_000);

test("a page of another origin counts, likes with a key, and reads what is wrong", async () => {
  const page = await open(listed);
  const seen = await page.evaluate(async (url) => {
    const counted = await fetch(`${url}v1/subjects/article/1/views`, { method: "POST" });
    const headers = { authorization: "Bearer s-write", "idempotency-key": "k", prefer: "return=minimal" };
    const liked = await fetch(`${url}v1/subjects/article/1/likes/7`, { method: "PUT", headers });
    const refused = await fetch(`${url}v1/subjects/article/1/likes/7`, { method: "DELETE" });
    const wrong = await fetch(`${url}v1/subjects/article/1/views`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: '{"by":0}',
    });
    return {
      counted: await counted.json(),
      liked: await liked.json(),
      refused: [
        refused.status,
        ((await refused.json()) as { type: string }).type,
        refused.headers.get("x-request-id")?.length,
      ],
      wrong: ((await wrong.json()) as { errors: unknown }).errors,
    };
  }, server.url);
  expect(seen).toEqual({
    counted: { count: 1 },
    liked: { active: true, changed: true, count: 1, at: expect.any(String) },
    refused: [401, "/problems/unauthorized", expect.any(Number)],
    wrong: [{ at: "/by", message: "must be an integer from 1 to 1000000" }],
  });
  await page.close();
});

test("sendBeacon counts as the page goes", async () => {
  const page = await open(listed);
  const sent = await page.evaluate((url) => {
    const { navigator } = globalThis as unknown as InPage;
    return navigator.sendBeacon(`${url}v1/events`, "views article/2");
  }, server.url);
  expect(sent).toBe(true);
  await page.close();
  await eventually(async () => expect(await server.json("/v1/subjects/article/2/views")).toMatchObject({ count: 1 }));
});

test("EventSource shows counts as they move, and goes on by itself after a restart", async () => {
  const page = await open(listed);
  const latest = (subject: string) =>
    page.evaluate((subject) => (globalThis as unknown as InPage).counts[subject], subject);
  await page.evaluate((url) => {
    const here = globalThis as unknown as InPage;
    here.counts = {};
    here.opened = 0;
    const stream = new here.EventSource(`${url}v1/stream?subject=article/3&subject=article/4&metric=views`);
    stream.addEventListener("open", () => {
      here.opened++;
    });
    stream.addEventListener("count", ({ data }) => {
      const { subject, count } = JSON.parse(data);
      here.counts[subject] = count;
    });
  }, server.url);
  await eventually(async () => expect(await latest("article/4")).toBe(0));
  const view = (id: number) => fetch(`${server.url}v1/subjects/article/${id}/views`, { method: "POST" });
  await view(3);
  await eventually(async () => expect(await latest("article/3")).toBe(1));

  const port = Number(new URL(server.url).port);
  expect(await server.stop()).toEqual({ status: 0, signal: null });
  server = await start(port);
  await view(4);
  await eventually(async () => expect(await latest("article/4")).toBe(1), 30_000);
  expect(await page.evaluate(() => (globalThis as unknown as InPage).opened)).toBe(2);
  await view(3);
  await eventually(async () => expect(await latest("article/3")).toBe(2));
  await page.close();
}, 60_000);

test("a page of an origin that is not listed reads nothing, until SIGHUP has brought it in", async () => {
  const page = await open(unlisted);
  const read = () =>
    page.evaluate(async (url) => {
      const answer = await fetch(`${url}v1/subjects/article/1`).catch((error) => error.message);
      return typeof answer === "string" ? answer : ((await answer.json()).subject as string);
    }, server.url);
  expect(await read()).toBe("Failed to fetch");
  allow(listed, unlisted);
  server.signal("SIGHUP");
  await eventually(async () => expect(server.lines.some(({ msg }) => msg === "settings read again")).toBe(true));
  // On whatever thread its connections end.
  for (let i = 0; i < 10; i++) await eventually(async () => expect(await read()).toBe("article/1"));
  await page.close();
});
