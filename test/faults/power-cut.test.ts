import { describe, expect, test } from "bun:test";
import { copyFileSync, cpSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { decodeHeader, encodeHeader, HEADER_BYTES, SLOT_BYTES } from "../../src/tallies/layout.ts";
import { inFolder, TestServer } from "../support/server.ts";

const OTHER_BOOT = "00000000-1111-2222-3333-444444444444";
const SMALL = ["--counters-max", "1000"];
/** Time enough to do something between two flushes. */
const SLOW_FLUSH = [...SMALL, "--flush-ms", "3000"];

async function add(server: TestServer, times: number): Promise<void> {
  for (let i = 0; i < times; i++) {
    const answer = await fetch(new URL("/v1/subjects/article/1/views", server.url), { method: "POST" });
    expect(answer.status).toBe(200);
  }
}

const views = async (server: TestServer) =>
  (await server.json<{ count: number }>("/v1/subjects/article/1/views")).count;

/** Until `times` flushes had something to flush. */
async function untilFlushed(server: TestServer, times: number): Promise<void> {
  for (;;) {
    const text = await (await server.get("/metrics")).text();
    if (Number(/^tally_flushed_counters_total (\d+)/m.exec(text)?.[1]) === times) return;
    await Bun.sleep(20);
  }
}

/** The header as another boot of the machine would have written it. */
function fromAnotherBoot(path: string): void {
  const bytes = readFileSync(path);
  const header = decodeHeader(bytes.subarray(0, HEADER_BYTES));
  if (typeof header === "string") throw new Error(header);
  const page = encodeHeader({ ...header, bootId: OTHER_BOOT });
  // What changes in use stands behind the checksum and stays as it is.
  const checked = 84;
  page.copy(bytes, 0, 0, checked);
  writeFileSync(path, bytes);
}

test("after a power cut old pages are not believed: counts are what was flushed, neither less nor more", async () => {
  await inFolder(async (data) => {
    const counters = join(data, "counters.tally");
    const server = await TestServer.start({ data, args: SLOW_FLUSH });
    await add(server, 1);
    await untilFlushed(server, 1);
    await add(server, 9);
    // Pages of before the flush, in which 9 are still owed.
    copyFileSync(counters, `${counters}.old`);
    await untilFlushed(server, 2);
    await add(server, 7);
    await server.kill();
    copyFileSync(counters, `${counters}.now`);

    for (const pages of ["old", "now"]) {
      cpSync(data, `${data}-${pages}`, { recursive: true, filter: (path) => !path.endsWith(".sock") });
      const after = join(`${data}-${pages}`, "counters.tally");
      copyFileSync(`${counters}.${pages}`, after);
      fromAnotherBoot(after);
      const restarted = await TestServer.start({ data: `${data}-${pages}`, args: SMALL });
      expect(await views(restarted)).toBe(10);
      const told = restarted.lines.find((line) => String(line.msg).includes("the machine stopped"));
      expect(told).toMatchObject({ level: "warn", flushedAt: expect.any(String) });
      await add(restarted, 1);
      expect(await views(restarted)).toBe(11);
      expect(await restarted.stop()).toEqual({ status: 0, signal: null });
      rmSync(`${data}-${pages}`, { recursive: true });
    }
    // The same boot: the file is what it is, and everything counts.
    const same = await TestServer.start({ data, args: SMALL });
    expect(await views(same)).toBe(17);
    expect(await same.stop()).toEqual({ status: 0, signal: null });
  });
}, 60_000);

test("after an orderly stop another boot is no power cut", async () => {
  await inFolder(async (data) => {
    const server = await TestServer.start({ data, args: SLOW_FLUSH });
    await add(server, 3);
    await server.stop();
    fromAnotherBoot(join(data, "counters.tally"));
    const after = await TestServer.start({ data, args: SMALL });
    expect(await views(after)).toBe(3);
    expect(after.lines.filter((line) => line.level === "warn")).toEqual([]);
    await after.stop();
  });
}, 30_000);

describe("a counter file that cannot be believed stops the start, and nothing is changed", () => {
  const edit = (change: (bytes: Buffer) => void) => (path: string) => {
    const bytes = readFileSync(path);
    change(bytes);
    writeFileSync(path, bytes);
  };
  test.each<[string, RegExp, (path: string) => void]>([
    ["truncated in its slots", /is truncated/, (path) => truncateSync(path, HEADER_BYTES + SLOT_BYTES)],
    ["truncated in its header", /is truncated/, (path) => truncateSync(path, 100)],
    ["empty", /is truncated/, (path) => truncateSync(path, 0)],
    ["foreign", /is not a counter file/, (path) => writeFileSync(path, Buffer.alloc(8192, "no counters\n"))],
    ["of an older layout", /has layout 0/, edit((bytes) => bytes.writeUInt32LE(0, 8))],
    ["of a newer layout", /has layout 99/, edit((bytes) => bytes.writeUInt32LE(99, 8))],
    ["with a damaged header", /damaged header/, edit((bytes) => bytes.writeUInt8((bytes[24] as number) ^ 1, 24))],
    [
      "with a damaged slot",
      /is damaged: slot 0/,
      edit((bytes) => bytes.fill(0xff, HEADER_BYTES + 20, HEADER_BYTES + SLOT_BYTES)),
    ],
  ])(
    "%s",
    async (_name, wrong, damage) => {
      await inFolder(async (data) => {
        const counters = join(data, "counters.tally");
        const server = await TestServer.start({ data, args: [...SMALL, "--flush-ms", "60000"] });
        await add(server, 4);
        await server.kill();
        const sound = readFileSync(counters);
        damage(counters);
        const damaged = readFileSync(counters);
        for (let tries = 0; tries < 2; tries++) {
          const refused = TestServer.spawn({ data, args: SMALL });
          expect(await refused.ended).toEqual({ status: 78, signal: null });
          expect(refused.stderr).toMatch(/^tally: the counter file .*\n$/);
          expect(refused.stderr).toMatch(wrong);
          expect(refused.stderr).toContain(counters);
          expect(readFileSync(counters).equals(damaged)).toBe(true);
        }
        writeFileSync(counters, sound);
        const after = await TestServer.start({ data, args: SMALL });
        expect(await views(after)).toBe(4);
        expect(await after.stop()).toEqual({ status: 0, signal: null });
      });
    },
    30_000,
  );
});
