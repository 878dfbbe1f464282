import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadSettings, readArguments } from "../config.ts";
import { filesOf } from "../local/files.ts";
import { readTableHeader } from "../tallies/recovery.ts";
import { startEmbedded } from "./start.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tally-node-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

test.each([
  ["whose workers have all left says that it owes nothing", true],
  ["of which a worker may still add does not", false],
])(
  "a node %s",
  async (_, hasLeft) => {
    const args = readArguments(["--data", folder, "--counters-max", "1000"], {});
    const { settings } = loadSettings({ args, env: {} });
    const broken = Promise.withResolvers<never>();
    const node = await startEmbedded(settings, { changed: () => undefined, broken: broken.reject });
    node.join(0);
    if (hasLeft) node.left(0);
    await Promise.race([node.stop(), broken.promise]);
    expect(readTableHeader(filesOf(folder).counters).clean).toBe(hasLeft);
  },
  20_000,
);
