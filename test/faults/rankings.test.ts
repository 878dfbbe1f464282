import { expect, test } from "bun:test";
import { rangeOf, WINDOWS } from "../../src/arithmetic/windows.ts";
import { eventually } from "../support/eventually.ts";
import { untilFlushed } from "../support/flushes.ts";
import { random } from "../support/random.ts";
import { inFolder, TestServer } from "../support/server.ts";

const SEED = Number(process.env.SEED ?? Date.now() % 100_000);
const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
/** The last but one minute of a year, 20 s of it gone: what is done within half a minute is in one minute. */
const BEGIN_MS = Date.UTC(new Date().getUTCFullYear() + 1, 0, 1) - 2 * MINUTE_MS + 20_000;
const SUBJECTS = ["a", "b", "😀", "é", "x/y", "0"].map((id) => `article/${id}`);
const SLIDING = ["1h", "24h", "7d", "30d"];
/** From the start of a server to a midnight of which it must have told before and after: on a slow machine both take a while. */
const TO_MIDNIGHT_MS = 15_000;

interface Change {
  metric: string;
  subject: string;
  /** Seconds since 1970 of its minute. */
  at: number;
  amount: number;
}

/** A server whose clock says `ms` now. */
function startAt(data: string, ms: number): Promise<TestServer> {
  return TestServer.start({ data, fault: `clock:${ms - Date.now()}`, args: ["--flush-ms", "50"] });
}

async function get(server: TestServer, path: string) {
  const answer = await fetch(new URL(path, server.url));
  expect(answer.status).toBe(200);
  // biome-ignore lint/suspicious/noExplicitAny: tests say what they expect in it
  return (await answer.json()) as any;
}

/** Views and likes in this minute, as they are told. */
async function act(server: TestServer, nowMs: number, dice: ReturnType<typeof random>): Promise<Change[]> {
  const at = Math.floor(nowMs / MINUTE_MS) * 60;
  const changes: Change[] = [];
  for (let left = 5 + dice.below(30); left > 0; left--) {
    const subject = dice.pick(SUBJECTS);
    const path = `/v1/subjects/article/${encodeURIComponent(subject.slice("article/".length))}`;
    if (dice.chance(0.5)) {
      const amount = 1 + dice.below(9);
      const headers = { "content-type": "application/json" };
      const body = JSON.stringify({ by: amount });
      await fetch(new URL(`${path}/views`, server.url), { method: "POST", headers, body });
      changes.push({ metric: "views", subject, at, amount });
    } else {
      const method = dice.chance(0.6) ? "PUT" : "DELETE";
      const answer = await fetch(new URL(`${path}/likes/${dice.below(4)}`, server.url), { method });
      const { changed } = (await answer.json()) as { changed: boolean };
      if (changed) changes.push({ metric: "likes", subject, at, amount: method === "PUT" ? 1 : -1 });
    }
  }
  return changes;
}

function topOf(changes: Change[], metric: string, from: number, to: number): [string, number][] {
  const sums = new Map<string, number>();
  for (const change of changes) {
    if (change.metric !== metric || change.at < from || change.at >= to) continue;
    sums.set(change.subject, (sums.get(change.subject) ?? 0) + change.amount);
  }
  return [...sums]
    .filter(([, sum]) => sum > 0)
    .sort((a, b) => b[1] - a[1] || Buffer.compare(Buffer.from(a[0]), Buffer.from(b[0])));
}

async function compare(server: TestServer, changes: Change[], nowMs: number): Promise<void> {
  for (const metric of ["views", "likes"]) {
    for (const [window, name] of WINDOWS.entries()) {
      await eventually(async () => {
        const list = await get(server, `/v1/top/article/${metric}?window=${name}`);
        const { from, to } = rangeOf(window, nowMs / 1000);
        const range = [Date.parse(list.from) / 1000, Date.parse(list.to) / 1000];
        expect([name, ...range, list.exact]).toEqual([name, from, to, true]);
        const items = list.items.map(({ subject, count }: { subject: string; count: number }) => [subject, count]);
        if (name !== "hot") expect([name, items]).toEqual([name, topOf(changes, metric, from, to)]);
      });
    }
  }
  const subject = SUBJECTS[0] as string;
  const { points } = await get(server, `/v1/history/${subject}/views`);
  for (const { at, count } of points) {
    const hour = Date.parse(at) / 1000;
    const sum = changes
      .filter((it) => it.metric === "views" && it.subject === subject && it.at >= hour && it.at < hour + 3600)
      .reduce((sum, { amount }) => sum + amount, 0);
    expect([at, count]).toEqual([at, sum]);
  }
}

test(`rankings and histories through SIGKILL, over a year's end and a month (SEED=${SEED})`, async () => {
  const dice = random(SEED);
  const changes: Change[] = [];
  await inFolder(async (data) => {
    const later = [0, 3, 58, 61, 130].map((minutes) => minutes * MINUTE_MS);
    const muchLater = [23 * HOUR_MS, 25 * HOUR_MS, 6 * DAY_MS, 8 * DAY_MS, 30 * DAY_MS, 33 * DAY_MS];
    for (const afterMs of [...later, ...muchLater]) {
      const nowMs = BEGIN_MS + afterMs;
      const server = await startAt(data, nowMs);
      await compare(server, changes, nowMs);
      changes.push(...(await act(server, nowMs, dice)));
      if (dice.chance(0.5)) await compare(server, changes, nowMs);
      // A tally in its last flush interval is in the table, and the next start finds it: its minute is that of the start.
      else {
        await untilFlushed(server);
        await eventually(async () => expect(await lacking(server)).toBe(0));
      }
      if (dice.chance(0.7)) await server.kill();
      else expect(await server.stop()).toEqual({ status: 0, signal: null });
    }
  });
}, 200_000);

/** How much of the log the ledger lacks. */
async function lacking(server: TestServer): Promise<number> {
  const text = await (await fetch(new URL("/metrics", server.url))).text();
  const value = (name: string) => Number(new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1]);
  return value("tally_log_head") - value("tally_log_applied");
}

test("windows move on with nothing counted: at midnight of a new year all of them", async () => {
  await inFolder(async (data) => {
    const midnight = BEGIN_MS - 20_000 + 2 * MINUTE_MS;
    const hourBefore = midnight - HOUR_MS + 10_000;
    const first = await startAt(data, hourBefore);
    await fetch(new URL("/v1/subjects/article/a/views", first.url), { method: "POST" });
    await eventually(async () => expect((await get(first, "/v1/top/article/views?window=1h")).items).toHaveLength(1));
    await first.stop();
    const server = await startAt(data, midnight - TO_MIDNIGHT_MS);
    const lists = () => Promise.all(SLIDING.map((name) => get(server, `/v1/top/article/views?window=${name}`)));
    await eventually(async () => expect((await lists()).map(({ items }) => items.length)).toEqual([1, 1, 1, 1]));
    const before = await lists();
    expect(before.map(({ to }) => to)).toEqual(SLIDING.map(() => iso(midnight)));
    await eventually(async () => {
      const after = await lists();
      const ends = [MINUTE_MS, 10 * MINUTE_MS, HOUR_MS, HOUR_MS].map((ms) => iso(midnight + ms));
      expect(after.map(({ to }) => to)).toEqual(ends);
      // It was counted in the first minute of the hour before.
      expect(after.map(({ items }) => items.length)).toEqual([0, 1, 1, 1]);
    }, 2 * TO_MIDNIGHT_MS);
    await server.stop();
  });
}, 90_000);

function iso(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}
