import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadSettings, readArguments, reload, type Settings, SettingsError } from "../config.ts";

const folder = mkdtempSync(join(tmpdir(), "tally-reload-"));
afterAll(() => rmSync(folder, { recursive: true }));

function fileWith(yaml = ""): string {
  const path = join(folder, "tally.yaml");
  writeFileSync(path, yaml);
  return path;
}

function settings({ argv = [], yaml }: { argv?: string[]; yaml?: string }): Settings {
  return loadSettings({ args: readArguments(["--config", fileWith(yaml), ...argv], {}), env: {} }).settings;
}

describe("reload", () => {
  const argv = () => ["serve", "--config", join(folder, "tally.yaml"), "--flush-ms=500"];
  const again = (before: string, after: string) => {
    const old = settings({ argv: ["--flush-ms=500"], yaml: before });
    fileWith(after);
    return reload(old, argv(), {});
  };

  test("nothing changed", () => {
    expect(again("port: 1", "port: 1\nflushMs: 9000")).toMatchObject({ changed: [], needsRestart: [] });
  });

  test("origins, limits, the log level and added metrics hold at once", () => {
    const reloaded = again(
      "metrics: {views: tally}",
      "metrics: {saves: relation, views: tally}\ncorsOrigins: https://a.b\nrateLimit: 1:2\nlogLevel: warn",
    );
    expect(reloaded.changed).toEqual(["metrics.saves added", "corsOrigins", "rateLimit", "logLevel"]);
    expect(reloaded.needsRestart).toEqual([]);
    expect(reloaded.settings).toMatchObject({
      corsOrigins: ["https://a.b"],
      logLevel: "warn",
      rateLimit: { perSecond: 1, burst: 2 },
    });
    expect(reloaded.settings.metrics.map((metric) => metric.name)).toEqual(["views", "saves"]);
  });

  test("anything else waits for a restart, and the old value stays", () => {
    const reloaded = again(
      "metrics: {views: tally, likes: relation, shares: tally}",
      "port: 1\nmetrics: {views: relation, likes: relation}\nkeys: admin:x",
    );
    expect(reloaded.needsRestart).toEqual(["metrics.views", "metrics.shares removed", "port", "keys"]);
    expect(reloaded.changed).toEqual([]);
    expect(reloaded.settings).toMatchObject({ port: 8080, keys: [] });
    expect(reloaded.settings.metrics.map((metric) => metric.kind)).toEqual(["tally", "relation", "tally"]);
  });

  test("wrong settings change nothing", () => {
    expect(() => again("port: 1", "logLevel: loud")).toThrow(SettingsError);
    expect(() => again("port: 1", "corsOrigins: [*.example.org]")).toThrow(SettingsError);
  });

  test("a file that was read and is gone is an error that names it, whoever named it", () => {
    const path = join(folder, "tally.yaml");
    const gone = "tally.yaml cannot be read: there is none";
    const old = settings({ yaml: "corsOrigins: https://a.b" });
    rmSync(path);
    expect(() => reload(old, ["serve", "--config", path], {})).toThrow(gone);
    expect(() => reload(old, ["serve"], { TALLY_CONFIG: path })).toThrow(gone);
    // As the default is found, which depends on the working directory.
    expect(() => reload(old, ["serve"], {})).toThrow(gone);
  });

  test("one that only appeared later is missed too", () => {
    const none = { ...settings({}), configFile: null };
    expect(reload(none, ["serve"], {}).changed).toEqual([]);
    const path = fileWith("logLevel: warn");
    const { settings: appeared, changed } = reload(none, ["serve"], { TALLY_CONFIG: path });
    expect(changed).toEqual(["logLevel"]);
    rmSync(path);
    expect(() => reload(appeared, ["serve"], {})).toThrow("there is none");
  });
});
