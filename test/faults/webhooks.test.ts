import { expect, test } from "bun:test";
import { join } from "node:path";
import { eventually } from "../support/eventually.ts";
import { inFolder, TestServer } from "../support/server.ts";
import { WebhookReceiver } from "../support/webhook-receiver.ts";

const SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const ENDED_WELL = { status: 0, signal: null };

function argsFor(receiver: WebhookReceiver, ...paths: string[]): string[] {
  const hooks = paths.map((path) => ({ metric: "likes", at: [1, 2], url: receiver.url(path), secret: SECRET }));
  return ["--webhooks", JSON.stringify(hooks), "--workers", "1"];
}

async function like(server: TestServer, subject: string, actor: number): Promise<void> {
  const answer = await fetch(new URL(`/v1/subjects/${subject}/likes/${actor}`, server.url), { method: "PUT" });
  expect(answer.status).toBe(200);
}

/** By a server that dies of it, when the log has it: its answer may come before that or not at all. */
async function likeLast(server: TestServer, subject: string, actor: number): Promise<void> {
  const url = new URL(`/v1/subjects/${subject}/likes/${actor}`, server.url);
  const answer = await fetch(url, { method: "PUT" }).catch(() => null);
  if (answer) expect(answer.status).toBe(200);
  expect((await server.ended).signal).toBe("SIGKILL");
}

async function metric(server: TestServer, series: string): Promise<number> {
  const text = await (await server.get("/metrics")).text();
  const line = text.split("\n").find((line) => line.startsWith(`${series} `));
  return Number(line?.slice(series.length + 1));
}

test("killed between sending and marking: sent again, under the same id", async () => {
  await inFolder(async (folder) => {
    const receiver = new WebhookReceiver(SECRET);
    const args = argsFor(receiver, "/");
    const data = join(folder, "data");
    const first = await TestServer.start({ data, args, fault: "webhook.sent" });
    await likeLast(first, "a/1", 1);
    expect(receiver.thresholds("a/1")).toEqual([1]);
    const second = await TestServer.start({ data, args });
    await receiver.until("a/1", [1, 1]);
    expect(new Set(receiver.told.map(({ id }) => id)).size).toBe(1);
    // And then no more, whatever starts again.
    await like(second, "a/2", 1);
    await receiver.until("a/2", [1]);
    expect(await second.stop()).toEqual(ENDED_WELL);
    const third = await TestServer.start({ data, args });
    await like(third, "a/3", 1);
    await receiver.until("a/3", [1]);
    expect(receiver.thresholds("a/1")).toEqual([1, 1]);
    expect(await third.stop()).toEqual(ENDED_WELL);
    await receiver.stop();
  });
});

test("killed before the ledger knows: what was answered is told by the next run", async () => {
  await inFolder(async (folder) => {
    const receiver = new WebhookReceiver(SECRET);
    const args = argsFor(receiver, "/");
    const data = join(folder, "data");
    const first = await TestServer.start({ data, args, fault: "projector.commit:2" });
    await like(first, "a/1", 1);
    await receiver.until("a/1", [1]);
    await likeLast(first, "a/1", 2);
    expect(receiver.thresholds("a/1")).toEqual([1]);
    const second = await TestServer.start({ data, args });
    await receiver.until("a/1", [1, 2]);
    expect(await second.stop()).toEqual(ENDED_WELL);
    await receiver.stop();
  });
});

test("a receiver who fails, and one who is away, are told later; a stop meanwhile loses nothing", async () => {
  await inFolder(async (folder) => {
    const receiver = new WebhookReceiver(SECRET);
    const args = argsFor(receiver, "/fails", "/works");
    const data = join(folder, "data");
    const first = await TestServer.start({ data, args });
    receiver.answers.set("/fails", [
      () => new Response(null, { status: 500 }),
      () => new Response(null, { status: 302, headers: { location: receiver.url("/works") } }),
    ]);
    await like(first, "a/1", 1);
    await receiver.until("a/1", [1, 1], 20_000);
    expect(receiver.told.map(({ path }) => path)).toEqual(["/works", "/fails"]);
    // The receiver has it before the server has its answer.
    await eventually(async () => expect(await metric(first, 'tally_webhooks_total{outcome="told"}')).toBe(2));
    expect(await metric(first, 'tally_webhooks_total{outcome="failed"}')).toBe(2);

    await receiver.stop();
    await like(first, "a/1", 2);
    await eventually(async () =>
      expect(await metric(first, 'tally_webhooks_total{outcome="failed"}')).toBeGreaterThan(2),
    );
    expect(await first.stop()).toEqual(ENDED_WELL);
    const second = await TestServer.start({ data, args });
    await eventually(async () => expect(await metric(second, "tally_webhooks_waiting")).toBe(2));
    receiver.start();
    await receiver.until("a/1", [1, 1, 2, 2], 60_000);
    await eventually(async () => expect(await metric(second, "tally_webhooks_waiting")).toBe(0));
    expect(await second.stop()).toEqual(ENDED_WELL);
    await receiver.stop();
  });
}, 120_000);

test("a receiver who hangs keeps no other waiting, nor a stop; 410 is not tried again", async () => {
  await inFolder(async (folder) => {
    const receiver = new WebhookReceiver(SECRET);
    const args = argsFor(receiver, "/hangs", "/works", "/gone");
    const data = join(folder, "data");
    const server = await TestServer.start({ data, args });
    receiver.answers.set("/hangs", [() => new Promise(() => undefined)]);
    receiver.answers.set("/gone", [() => new Response(null, { status: 410 })]);
    await like(server, "a/1", 1);
    await receiver.until("a/1", [1]);
    await eventually(async () => expect(await metric(server, 'tally_webhooks_total{outcome="given_up"}')).toBe(1));
    const began = performance.now();
    expect(await server.stop()).toEqual(ENDED_WELL);
    expect(performance.now() - began).toBeLessThan(6_000);
    const second = await TestServer.start({ data, args });
    await receiver.until("a/1", [1, 1]);
    expect(receiver.told.map(({ path }) => path)).toEqual(["/works", "/hangs"]);
    expect(await second.stop()).toEqual(ENDED_WELL);
    await receiver.stop();
  });
}, 60_000);

test("nothing of it runs where none is configured", async () => {
  await inFolder(async (folder) => {
    const server = await TestServer.start({ data: join(folder, "data") });
    expect(await (await server.get("/metrics")).text()).not.toContain("tally_webhooks");
    expect(await server.stop()).toEqual(ENDED_WELL);
  });
});
