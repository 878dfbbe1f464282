import { readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { Glob } from "bun";

/**
 * The parts of src from the ground up: a part imports from itself, from its own row and from rows below it.
 * Whoever wants something from above gets it handed in, by a port or an argument.
 */
const ROWS: readonly (readonly string[])[] = [
  ["lib"], // no product words
  ["model", "errors", "limits", "version", "arithmetic", "distinct"],
  ["ports", "records"],
  ["config", "telemetry"],
  ["tallies", "visitors", "projector", "rankings", "streams", "webhooks", "transfer"],
  ["local"],
  ["embedded", "cluster"],
  ["http"],
  ["workers"],
  ["open"],
  ["commands"],
  ["main"],
];
/** The two deployments know nothing of each other; only one file knows that there are two. */
const APART: readonly string[] = ["embedded", "cluster"];
const KNOWS_BOTH = "open";
/** A thread starts here as a process does in main: it may import what commands may, and nobody imports it. */
const THREAD_ENTRY = /(^|[/-])thread\.ts$/;

const IMPORT = /^\s*(?:import|export)\b[^;"']*?from\s*"([^"]+)"|^\s*import\s*"([^"]+)"|\bimport\(\s*"([^"]+)"/gm;
const TEST = /\.test\.tsx?$/;

interface Manifest {
  dependencies: Record<string, string>;
}

/** What breaks the rule in `root`/src, a line each. */
export function importProblems(root: string): string[] {
  const src = join(root, "src");
  const { dependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as Manifest;
  const problems: string[] = [];
  for (const file of [...new Glob("**/*.ts").scanSync({ cwd: src })].sort()) {
    const specifiers = importsOf(readFileSync(join(src, file), "utf8"));
    const parts = new Set<string>();
    for (const specifier of specifiers) {
      const problem = specifier.startsWith(".")
        ? relativeProblem(file, relative(src, join(src, dirname(file), specifier)), parts)
        : packageProblem(file, specifier, dependencies);
      if (problem) problems.push(`src/${file}: ${problem}`);
    }
    if (APART.every((part) => parts.has(part)) && partOf(file) !== KNOWS_BOTH && !TEST.test(file)) {
      problems.push(`src/${file}: imports ${APART.join(" and ")}; only ${KNOWS_BOTH}.ts knows that there are two`);
    }
  }
  return problems;
}

/** The specifiers a source names, types included. */
function importsOf(source: string): string[] {
  return [...source.matchAll(IMPORT)].map((match) => match[1] ?? match[2] ?? match[3] ?? "");
}

function partOf(file: string): string {
  return (file.split("/")[0] ?? "").replace(/\.ts$/, "");
}

function rowOf(part: string): number {
  return ROWS.findIndex((row) => row.includes(part));
}

function relativeProblem(file: string, target: string, parts: Set<string>): string | null {
  if (target === "../package.json") return null; // the version
  const test = TEST.test(file);
  if (target.startsWith("../drizzle/") && APART.includes(partOf(file))) return null; // the migrations, as text
  if (target.startsWith("../")) return test ? null : `imports ${target.slice(3)}, which is not under src`;
  const from = partOf(file);
  const to = partOf(target);
  parts.add(to);
  if (from !== to && APART.includes(from) && APART.includes(to)) return `${from} must not know of ${to} (${target})`;
  if (test) return null;
  if (TEST.test(target)) return `imports the test ${target}`;
  if (THREAD_ENTRY.test(target)) return `imports ${target}, where a thread starts; start a Worker with its URL`;
  if (from === to) return null;
  if (rowOf(from) < 0) return `is in no row of scripts/check-imports.ts: say where ${from} belongs`;
  if (rowOf(to) < 0) return `imports ${target}, which is in no row of scripts/check-imports.ts`;
  const row = THREAD_ENTRY.test(file) ? rowOf("commands") : rowOf(from);
  return rowOf(to) > row ? `${from} must not import ${to}, which is above it (${target})` : null;
}

/** Only what is installed for users: `npm ci --omit=dev` must be enough to run from source. */
function packageProblem(file: string, specifier: string, dependencies: Record<string, string>): string | null {
  if (TEST.test(file) || /^(node:|bun$|bun:)/.test(specifier)) return null;
  const name = specifier.split("/", specifier.startsWith("@") ? 2 : 1).join("/");
  return name in dependencies ? null : `imports ${specifier}, which is not among the dependencies in package.json`;
}

if (import.meta.main) {
  const problems = importProblems(join(import.meta.dir, ".."));
  for (const problem of problems) console.error(problem);
  process.exit(problems.length > 0 ? 1 : 0);
}
