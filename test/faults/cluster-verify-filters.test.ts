import { expect, test } from "bun:test";
import mysql from "mysql2/promise";
import { ClusterWorld } from "../support/cluster-world.ts";
import { eventually } from "../support/eventually.ts";
import { runTally } from "../support/server.ts";

const SEED = Number(process.env.SEED ?? Date.now() % 100_000);
const LOOKS = 3;
const ACTORS = ["7", "é", "a b", "9", "Bob"];
const SUBJECTS = Array.from({ length: 8 }, (_, i) => `article/f${i}`);

/** Every bit of every filter goes; the filters are as complete as they were. */
const EMPTY_FILTERS = `
  local emptied = 0
  for _, key in ipairs(redis.call("KEYS", "*}:f*")) do
    if string.match(key, ":f%d+$") then
      redis.call("SET", key, string.rep("\\0", redis.call("STRLEN", key)))
      emptied = emptied + 1
    end
  end
  return tostring(emptied)`;
/** What the heads say of their filters, by who has one. */
const FILTERS = `
  local found = {}
  for _, key in ipairs(redis.call("KEYS", "*:{*}")) do
    if redis.call("TYPE", key).ok == "hash" then
      local filter, version = unpack(redis.call("HMGET", key, "filter", "version"))
      if filter and filter ~= version .. " - 0 0" and version ~= "0" then found[#found + 1] = version .. ": " .. filter end
    end
  end
  return table.concat(found, "\\n")`;
/** Somebody begins to fill them all, and never ends. */
const UNFINISHED = `
  for _, key in ipairs(redis.call("KEYS", "*:{*}")) do
    if redis.call("TYPE", key).ok == "hash" then
      local filter = redis.call("HGET", key, "filter")
      if filter then redis.call("HSET", key, "filter", (string.gsub(filter, " %- ", " somebody "))) end
    end
  end
  return "ok"`;

async function verify(world: ClusterWorld, ...args: string[]) {
  const { status, stdout, stderr } = await runTally(["verify", ...args, ...world.stores.flags]);
  const lines = stdout.trim().split("\n");
  return { status, stderr, summary: lines.at(-1) ?? "", lines: lines.slice(0, -1) };
}

async function like(world: ClusterWorld): Promise<void> {
  for (const subject of SUBJECTS) {
    for (const actor of ACTORS) {
      const path = `/v1/subjects/${subject}/likes/${encodeURIComponent(actor)}`;
      await eventually(async () => {
        const { status } = await fetch(new URL(path, world.node(0).url), { method: "PUT" });
        expect(status).toBe(200);
      });
    }
  }
  await world.settle();
}

test("verify names what a filter denies, --repair fills it again; one that is not complete is no difference", async () => {
  await using world = await ClusterWorld.start({ seed: SEED, nodes: 1 });
  const { redis } = world.stores;
  await like(world);
  const all = SUBJECTS.length * ACTORS.length;
  const right = await verify(world);
  expect(right).toMatchObject({
    status: 0,
    lines: [],
    summary: expect.stringContaining(`${all} registers in filters`),
  });
  const ask = (script: string) => redis.ask("EVAL", script, "0");
  expect(Number(await ask(EMPTY_FILTERS))).toBeGreaterThan(1);

  const found = await verify(world);
  expect([found.status, found.lines.length]).toEqual([1, all]);
  for (const subject of SUBJECTS) {
    for (const actor of ACTORS) {
      const named = new RegExp(`^Redis, shard \\d+: the filter says never of likes of ${actor} on ${subject}$`);
      expect(found.lines.filter((line) => named.test(line))).toHaveLength(1);
    }
  }
  const mended = await verify(world, "--repair");
  expect([mended.status, mended.lines.length]).toEqual([0, all]);
  expect(mended.lines.every((line) => line.endsWith(" (mended)"))).toBe(true);
  expect(await verify(world)).toMatchObject({ status: 0, lines: [] });
  // And they may say "never" again.
  const filters = String(await ask(FILTERS)).split("\n");
  for (const filter of filters) expect(filter).toMatch(/^(\d+): \1 - 1 \d+$/);
  expect(filters.length).toBeGreaterThan(1);

  await ask(EMPTY_FILTERS);
  await ask(UNFINISHED);
  expect(await verify(world)).toMatchObject({ status: 0, lines: [] });
}, 180_000);

test("verify calls metrics by their names", async () => {
  await using world = await ClusterWorld.start({ seed: SEED, nodes: 1 });
  await like(world);
  const connection = await mysql.createConnection(world.stores.mysql.url);
  await connection.query("UPDATE counts SET count = count + 1 WHERE subject = ?", [Buffer.from("article/f0")]);
  await connection.query("UPDATE history SET amount = amount + 1 WHERE subject = ?", [Buffer.from("article/f1")]);
  await connection.end();
  const { status, lines } = await verify(world);
  expect(status).toBe(1);
  expect(lines).toContain("MySQL: count of likes on article/f0 is 6, its rows say 5");
  expect(lines).toContainEqual(
    expect.stringMatching(/^MySQL: history of likes on article\/f1 is \d+, its rows say 5$/),
  );
}, 60_000);

test(`beside two nodes under load it finds nothing (SEED=${SEED})`, async () => {
  await using world = await ClusterWorld.start({ seed: SEED });
  const load = await world.startLoad();
  for (let look = 0; look < LOOKS; look++) {
    const before = load.taken.statuses.get("PUT 200") ?? 0;
    expect(await verify(world)).toMatchObject({ status: 0, lines: [] });
    expect(load.taken.statuses.get("PUT 200") ?? 0).toBeGreaterThan(before);
  }
  await world.stopLoad();
  expect(await world.verify()).toEqual([]);
}, 240_000);
