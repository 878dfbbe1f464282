import { expect, test } from "bun:test";
import { closeSync, openSync } from "node:fs";
import { inFolder, runTally, TALLY, TestServer } from "../support/server.ts";

const EVENTS = 20_000;
const QUIET = { stdin: "ignore", stderr: "pipe", env: { PATH: process.env.PATH } } as const;

/** What `tally export` ends with whose stdout is a disk without room. */
async function exportOntoFull(data: string): Promise<{ status: number; stderr: string }> {
  const full = openSync("/dev/full", "w");
  try {
    const child = Bun.spawn([TALLY, "export", "--data", data], { ...QUIET, stdout: full });
    const [stderr, status] = await Promise.all([child.stderr.text(), child.exited]);
    return { status, stderr };
  } finally {
    closeSync(full);
  }
}

test("an export that finds no room says so, however much there is to write; one whose reader has enough does not", async () => {
  await inFolder(async (data) => {
    const refused = { status: 69, stderr: expect.stringMatching(/^tally: the export cannot .* stdout: ENOSPC.*\n$/) };
    const server = await TestServer.start({ data });
    expect(await exportOntoFull(data)).toEqual(refused);
    const lines = Array.from({ length: EVENTS }, (_, i) => `views article/${i}\n`);
    const headers = { "content-type": "text/plain" };
    await fetch(`${server.url}v1/events`, { method: "POST", headers, body: lines.join("") });
    expect(await exportOntoFull(data)).toEqual(refused);
    await server.stop();
    expect(await exportOntoFull(data)).toEqual(refused);
    const command = `"${TALLY}" export --data "${data}" | head -c 5; exit $PIPESTATUS`;
    const head = Bun.spawn(["bash", "-c", command], { ...QUIET, stdout: "pipe" });
    expect(await Promise.all([head.stdout.text(), head.stderr.text(), head.exited])).toEqual(['{"tal', "", 69]);
    // The folder was left as it should be: nothing is recovered, all is there.
    const { status, stdout, stderr } = await runTally(["export", "--data", data]);
    expect([status, stdout.split("\n").length, stderr]).toEqual([0, EVENTS + 3, ""]);
  });
}, 60_000);
