import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { inFolder, TestServer } from "../support/server.ts";
import { TestConnection } from "../support/upload-connection.ts";

const MIB = 1024 * 1024;
const SUBJECTS = 100;
/** Of two bodies that are 256 MiB long. What is left is garbage of some chunks, and what the allocators keep of it. */
const GROWTH_BYTES_MAX = 192 * MIB;

/** What a process has had in memory at most. */
function peakBytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) * 1024;
}

/** Lines of about a hundred bytes. */
function block(format: string): Buffer {
  const lines: string[] = [];
  for (let i = 0; i < SUBJECTS; i++) {
    const subject = `article/${String(i).padStart(40, "0")}`;
    lines.push(format === "text/plain" ? `views ${subject} 2\n` : `{"metric":"views","subject":"${subject}","by":2}\n`);
  }
  return Buffer.from(lines.join("").repeat(10));
}

test("a body of 256 MiB takes no more memory than a small one", async () => {
  await inFolder(async (data) => {
    const server = await TestServer.start({ data, args: ["--workers", "1"] });
    let sent = 0;
    const send = async (type: string, bytes: number): Promise<void> => {
      const lines = block(type);
      const rounds = Math.floor(bytes / lines.length);
      const connection = await TestConnection.open(server.url);
      await connection.begin({ key: null, type, bytes: rounds * lines.length });
      for (let i = 0; i < rounds; i++) await connection.send(lines);
      const accepted = rounds * SUBJECTS * 10;
      expect(await connection.finish()).toContain(`{"accepted":${accepted},"rejected":0,"errors":[]}`);
      sent += rounds * 10;
    };
    for (const type of ["text/plain", "application/x-ndjson"]) await send(type, 8 * MIB);
    const before = peakBytes(server.pid);
    for (const type of ["text/plain", "application/x-ndjson"]) await send(type, 256 * MIB);
    expect(peakBytes(server.pid) - before).toBeLessThan(GROWTH_BYTES_MAX);
    const { count } = await server.json<{ count: number }>(`/v1/subjects/article/${"0".repeat(40)}/views`);
    expect(count).toBe(2 * sent);
    expect(await server.stop()).toEqual({ status: 0, signal: null });
  });
}, 120_000);
