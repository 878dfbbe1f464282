import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { askSocket, listenOnSocket } from "./socket.ts";

/** Bun closes quiet connections after 10 s, and looks at them every few. */
const QUIET_MS = 14_000;

test("work may be quiet for long, with a body and without", async () => {
  const folder = mkdtempSync(join(tmpdir(), "tally-socket-"));
  const path = join(folder, "it.sock");
  const server = listenOnSocket(path, async (request, say, body) => {
    await Bun.sleep(QUIET_MS);
    say({ request, bytes: body.length });
  });
  const asked = [askSocket(path, "/a?b", new Uint8Array(100_000)), askSocket(path, "/c")];
  const [a, c] = await Promise.all(asked.map((lines) => Array.fromAsync(lines)));
  expect(a as unknown[]).toEqual([{ request: "/a?b", bytes: 100_000 }]);
  expect(c as unknown[]).toEqual([{ request: "/c", bytes: 0 }]);
  server.close();
  rmSync(folder, { recursive: true });
}, 40_000);

test("who asked may go before the answer", async () => {
  const folder = mkdtempSync(join(tmpdir(), "tally-socket-"));
  const path = join(folder, "it.sock");
  const ended = Promise.withResolvers<void>();
  const server = listenOnSocket(path, async (_request, say) => {
    for (let i = 0; i < 40; i++) {
      await Bun.sleep(10);
      say({ i });
    }
    ended.resolve();
    throw new Error("and this, too");
  });
  const gone = new AbortController();
  const answer = await fetch("http://tally/a", { unix: path, method: "POST", signal: gone.signal });
  await answer.body?.getReader().read();
  gone.abort();
  await ended.promise;
  expect(await Array.fromAsync(askSocket(path, "/b"))).toHaveLength(41);
  server.close();
  rmSync(folder, { recursive: true });
});
