import { expect } from "bun:test";
import { eventually } from "./eventually.ts";
import type { TestServer } from "./server.ts";

/** Resolves once a flush is over that began after this call: the log, or the outbox, has what was counted before it. */
export async function untilFlushed(server: TestServer): Promise<void> {
  const before = await flushesOf(server);
  // The first of them may have been under way.
  await eventually(async () => expect(await flushesOf(server)).toBeGreaterThanOrEqual(before + 2));
}

async function flushesOf(server: TestServer): Promise<number> {
  const text = await (await server.get("/metrics")).text();
  return Number(/^tally_flushes_total (\d+)$/m.exec(text)?.[1]);
}
