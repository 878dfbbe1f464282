import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { inFolder, TestServer } from "../support/server.ts";
import { TestConnection } from "../support/upload-connection.ts";

const MIB = 1024 * 1024;
const SUBJECTS = 100;
/** What is left is garbage of some chunks, and what the allocators keep of it: measured, 0 to 6 MiB. */
const GROWTH_BYTES_MAX = 48 * MIB;
/** The writer and the projector have their largest batches, 120,000 records, whether a body is large or many are small: 280 MiB. */
const KEYED_GROWTH_BYTES_MAX = 320 * MIB;

/** What a process has had in memory at most. */
function peakBytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) * 1024;
}

const BODIES = {
  text: { type: "text/plain", line: (subject: string) => `views ${subject} 2\n` },
  usual: {
    type: "application/x-ndjson",
    line: (subject: string) => `{"metric":"views","subject":"${subject}","by":2}\n`,
  },
  /** Its lines are read in full. */
  unusual: {
    type: "application/x-ndjson",
    line: (subject: string) => `{"subject":"${subject}","by":2,"metric":"views"}\n`,
  },
};
type Body = keyof typeof BODIES;

const idOf = (i: number) => String(i).padStart(40, "0");

/** Lines of about a hundred bytes. */
function block(body: Body): Buffer {
  const lines = Array.from({ length: SUBJECTS }, (_, i) => BODIES[body].line(`article/${idOf(i)}`));
  return Buffer.from(lines.join("").repeat(10));
}

async function expectSmall(bodies: [Body, bytes: number, key: string | null][], growthMax: number): Promise<void> {
  await inFolder(async (data) => {
    const server = await TestServer.start({ data, args: ["--workers", "1"] });
    let sent = 0;
    const send = async (body: Body, bytes: number, key: string | null): Promise<void> => {
      const lines = block(body);
      const rounds = Math.floor(bytes / lines.length);
      const connection = await TestConnection.open(server.url);
      await connection.begin({ key, type: BODIES[body].type, bytes: rounds * lines.length });
      for (let i = 0; i < rounds; i++) await connection.send(lines);
      const accepted = rounds * SUBJECTS * 10;
      expect(await connection.finish()).toContain(`{"accepted":${accepted},"rejected":0,"errors":[]}`);
      sent += rounds * 10;
    };
    for (const [body] of bodies) await send(body, 8 * MIB, null);
    const before = peakBytes(server.pid);
    for (const [body, bytes, key] of bodies) await send(body, bytes, key);
    expect(peakBytes(server.pid) - before).toBeLessThan(growthMax);
    const { count } = await server.json<{ count: number }>(`/v1/subjects/article/${idOf(0)}/views`);
    expect(count).toBe(2 * sent);
    expect(await server.stop()).toEqual({ status: 0, signal: null });
  });
}

test("a body of 256 MiB takes no more memory than a small one", async () => {
  const bodies: [Body, number, null][] = [
    ["text", 256 * MIB, null],
    ["usual", 256 * MIB, null],
    ["unusual", 128 * MIB, null],
  ];
  await expectSmall(bodies, GROWTH_BYTES_MAX);
}, 120_000);

test("a body with a key takes what its batches take, however long it is", async () => {
  await expectSmall([["text", 96 * MIB, "large"]], KEYED_GROWTH_BYTES_MAX);
}, 120_000);
