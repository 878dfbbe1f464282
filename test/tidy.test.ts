import { describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { Glob } from "bun";
import { importProblems } from "../scripts/check-imports.ts";

const ROOT = join(import.meta.dir, "..");
const LINES_MAX = 400;
/** Longer files, each with the reason why two would read worse. */
const LONGER: Record<string, string> = {
  "src/config/table.ts": "every setting once, on one page; it grows with them",
  "test/cluster/hot-store.world.ts": "every call of the hot store, each with what the model makes of it",
  "test/model/embedded.model.ts": "one world with its schedules and all that is checked of it, to be read in one go",
  "test/model/arithmetic.model.ts": "the whole arithmetic in one piece, to be read beside its rules",
};
const BUILT = /^(node_modules|dist|data|\.bench|\.git)(\/|$)/;
/** What only one machine has. Written in pieces, as this file is looked through too. */
const MACHINE_PATH = new RegExp(`(^|[\\s"'\`(=:])/(${["work", "root", "home", "Users"].join("|")})/`, "m");
const REGISTRY = new RegExp(
  ["registry\\.[a-z]+\\.(org|com)", "npmjs\\.(org|com)", "yarnpkg\\.", "npmmirror\\."].join("|"),
);

const files = [...new Glob("**").scanSync({ cwd: ROOT, dot: true })].filter((file) => !BUILT.test(file)).sort();
const text = new Map(files.map((file) => [file, readFileSync(join(ROOT, file), "utf8")]));

function matching(pattern: RegExp): string[] {
  return files.filter((file) => file !== "test/tidy.test.ts" && pattern.test(text.get(file) ?? ""));
}

describe("the tree", () => {
  test("names no path that only one machine has", () => {
    expect(matching(MACHINE_PATH)).toEqual([]);
  });

  test("names no package registry, so that the user's own is asked", () => {
    expect(matching(REGISTRY)).toEqual([]);
    expect(text.get("package-lock.json")).not.toContain('"resolved"');
  });

  test(`has no file of code above ${LINES_MAX} lines without a reason`, () => {
    const long = files.filter(
      (file) => /\.(ts|tsx|mjs|js)$/.test(file) && (text.get(file) ?? "").split("\n").length - 1 > LINES_MAX,
    );
    expect(long).toEqual(Object.keys(LONGER).sort());
  });

  test("has the version of package.json on top of the changelog", () => {
    const { version } = JSON.parse(text.get("package.json") ?? "") as { version: string };
    expect(/^## (\S+)/m.exec(text.get("CHANGELOG.md") ?? "")?.[1]).toBe(version);
  });

  test("pins every dependency to one version", () => {
    const manifest = JSON.parse(text.get("package.json") ?? "") as Record<string, Record<string, string>>;
    const ranges = Object.values({ ...manifest.dependencies, ...manifest.devDependencies });
    expect(ranges.filter((range) => !/^\d+\.\d+\.\d+$/.test(range))).toEqual([]);
  });
});

describe("imports", () => {
  test("go one way", () => {
    expect(importProblems(ROOT)).toEqual([]);
  });

  test.each([
    ["a part above", { "src/lib/a.ts": 'import type { Metric } from "../model.ts";' }, "lib must not import model"],
    ["the other deployment", { "src/embedded/a.ts": 'export * from "../cluster/b.ts";' }, "must not know of cluster"],
    ["the other, in a test", { "src/cluster/a.test.ts": 'import "../embedded/b.ts";' }, "must not know of embedded"],
    [
      "both deployments",
      { "src/commands/a.ts": 'import "../embedded/a.ts";\nimport "../cluster/a.ts";' },
      "only open.ts knows",
    ],
    ["a part nobody placed", { "src/misc/a.ts": 'import "../lib/a.ts";' }, "say where misc belongs"],
    ["a test", { "src/lib/a.ts": 'import { b } from "./b.test.ts";' }, "imports the test"],
    ["what lies outside", { "src/lib/a.ts": 'await import("../../scripts/build.ts");' }, "not under src"],
    ["a thread's start", { "src/open.ts": 'import "./workers/thread.ts";' }, "where a thread starts"],
    ["a package nobody installs", { "src/lib/a.ts": 'import x from "@b/c/d";' }, "not among the dependencies"],
    ["over several lines", { "src/lib/a.ts": 'import {\n  a,\n  b,\n} from "../main.ts";' }, "must not import main"],
  ])("are refused: %s", (_name, sources, problem) => {
    expect(problemsOf(sources)).toEqual([expect.stringContaining(problem)]);
  });

  test("are allowed: below, beside, both in open.ts, from a thread's start, anything in a test", () => {
    const sources = {
      "src/open.ts": 'import "./embedded/a.ts";\nimport "./cluster/a.ts";\nimport { z } from "zod";',
      "src/http/a.ts": 'import "../visitors/a.ts";\nimport "../config.ts";\nimport "./b.ts";\nimport "node:fs";',
      "src/workers/thread.ts": 'import "../open.ts";',
      "src/main.ts": 'import { version } from "../package.json" with { type: "json" };',
      "src/lib/a.test.ts": 'import "../../test/support/x.ts";\nimport "../main.ts";',
    };
    expect(problemsOf(sources)).toEqual([]);
  });
});

function problemsOf(sources: Record<string, string>): string[] {
  const root = mkdtempSync(join(tmpdir(), "tally-tidy-"));
  try {
    writeFileSync(join(root, "package.json"), '{"dependencies":{"zod":"1.0.0"}}');
    for (const [file, source] of Object.entries(sources)) {
      mkdirSync(dirname(join(root, file)), { recursive: true });
      writeFileSync(join(root, file), source);
    }
    return importProblems(root);
  } finally {
    rmSync(root, { recursive: true });
  }
}
