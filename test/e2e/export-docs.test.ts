import { expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { inFolder, TALLY, TestServer } from "../support/server.ts";

const PAGE = readFileSync(join(import.meta.dir, "../../docs/export.md"), "utf8");

/** The page's blocks: files to be there, and sessions with what they say. */
const blocks = Array.from(PAGE.matchAll(/^```(\w+) ?(\S*)\n(.*?)^```$/gms), ([, kind, name, text]) => ({
  kind,
  name: name as string,
  text: text as string,
}));

test("docs/export.md: its sessions say what it says, to the letter", async () => {
  await inFolder(async (folder) => {
    const server = await TestServer.start({ data: join(folder, "data") });
    const acts = ["POST article/1/views", "POST article/1/shares", "PUT article/1/likes/7", "PUT article/1/likes/8"];
    for (const act of acts) {
      const [method = "", path = ""] = act.split(" ");
      expect((await fetch(`${server.url}v1/subjects/${path}`, { method })).status).toBe(200);
    }
    const sessions = blocks.filter(({ kind }) => kind === "console");
    expect(sessions.length).toBeGreaterThan(2);
    for (const { kind, name, text } of blocks) {
      if (kind === "csv") writeFileSync(join(folder, name), text);
      if (kind !== "console") continue;
      for (const [, command = "", said = ""] of text.matchAll(/^\$ (.*)\n((?:(?!\$ ).*\n)*)/gm)) {
        const child = Bun.spawn(["sh", "-c", command], {
          cwd: folder,
          env: { PATH: `${dirname(TALLY)}:${process.env.PATH}`, TALLY_DATA: join(folder, "data") },
          stdin: "ignore",
          stdout: "pipe",
          stderr: "pipe",
        });
        const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
        expect([child.exitCode, stdout, stderr], command).toEqual([0, said, ""]);
      }
    }
    expect(await server.json("/v1/subjects/article/1")).toMatchObject({ counts: { views: 1201, likes: 2 } });
    await server.stop();
  });
}, 60_000);
