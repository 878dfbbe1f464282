import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadSettings, readArguments } from "../config.ts";
import { settingsFile, settingsPage } from "./document.ts";
import { flagOf, SETTING_NAMES, variableOf } from "./table.ts";

const folder = mkdtempSync(join(tmpdir(), "tally-config-"));
afterAll(() => rmSync(folder, { recursive: true }));

function load(yaml: string) {
  const path = join(folder, "tally.yaml");
  writeFileSync(path, yaml);
  return loadSettings({ args: readArguments(["--config", path], {}), env: {}, listens: false }).settings;
}

describe("what is written about the settings", () => {
  const root = join(import.meta.dir, "..", "..");
  test.each([
    ["docs/settings.md", settingsPage],
    ["deploy/tally.yaml", settingsFile],
  ])("%s is up to date (bun scripts/settings-docs.ts)", async (path, written) => {
    expect(await Bun.file(join(root, path)).text()).toBe(written());
  });

  test("the file with every setting holds every setting, and rightly", () => {
    const uncommented = settingsFile().replace(/^#(?! [^ ])/gm, "");
    // The example's file is not here; any that is will do.
    const apart = uncommented.replace(/^redisToken: .*$/m, "").replace("./kafka-ca.pem", import.meta.path);
    expect(() => load(apart)).not.toThrow();
    for (const name of SETTING_NAMES) expect(uncommented).toMatch(new RegExp(`^${name}:`, "m"));
    expect(load(settingsFile())).toEqual(load(""));
  });

  test("the page names each setting in three spellings", () => {
    for (const name of SETTING_NAMES) {
      for (const spelling of [flagOf(name), variableOf(name), `${name}:`])
        expect(settingsPage()).toContain(`\`${spelling}\``);
    }
  });
});
