import { writeFileSync } from "node:fs";
import { arch, cpus, release, totalmem } from "node:os";
import { join } from "node:path";
import type { Finding, Goal } from "./finding.ts";
import { CONNECTIONS } from "./oha.ts";
import type { Options } from "./options.ts";
import { BENCH_DIRECTORY } from "./scratch.ts";
import { STORE_SETTINGS } from "./stores.ts";
import type { Summary } from "./summary.ts";

const NOISY_SPREAD = 1.2;
const HEADINGS = ["what", "goal", "measured", "requests/s", "against", "p50", "p99"];

/** The findings as a Markdown table. */
export function tableOf(findings: readonly Finding[]): string {
  const lines = [HEADINGS, HEADINGS.map(() => "---"), ...findings.map(cellsOf)];
  return lines.map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

/** Keeps everything that was measured, every round included, as JSON; where. */
export function writeReport(findings: readonly Finding[], options: Options): string {
  const path = join(BENCH_DIRECTORY, options.cluster ? "report-cluster.json" : "report.json");
  const machine = {
    cpu: cpus()[0]?.model,
    cpus: cpus().length,
    memoryBytes: totalmem(),
    system: `${process.platform} ${release()} ${arch()}`,
    bun: Bun.version,
  };
  const stores = options.cluster ? STORE_SETTINGS : undefined;
  const report = { at: new Date().toISOString(), machine, stores, connections: CONNECTIONS, options, findings };
  writeFileSync(path, `${JSON.stringify(report, null, 2)}\n`);
  return path;
}

/** What a reader should know before believing the numbers. */
export function warningsOf(findings: readonly Finding[], options: Options): string[] {
  const noisy = findings.filter(({ tally, against }) =>
    [tally, against?.summary].some((summary) => summary && summary.spread > NOISY_SPREAD),
  );
  return [
    ...(options.quick ? ["Quick run: small data, short runs; these are not the numbers of the goals."] : []),
    ...noisy.map(({ what }) => `Noisy (rounds differ by more than ${NOISY_SPREAD} times): ${what}`),
  ];
}

function cellsOf({ what, goals, tally, against }: Finding): string[] {
  return [
    what,
    goals.map(goalText).join(", "),
    goals.map(valueText).join(", "),
    tally ? rateText(tally) : "",
    against ? `${rateText(against.summary)} (${against.name})` : "",
    tally ? `${tally.p50Ms.toFixed(1)} ms` : "",
    tally ? `${tally.p99Ms.toFixed(1)} ms` : "",
  ];
}

function goalText({ name, is, bound, unit }: Goal): string {
  return `${named(name)}${is === "at least" ? "≥" : "≤"} ${bound}${unit && ` ${unit}`}`;
}

function valueText({ value, unit, met }: Goal): string {
  return `${value.toFixed(2)}${unit && ` ${unit}`} ${met ? "✓" : "✗"}`;
}

function named(name: string): string {
  return name === "ratio" ? "" : `${name} `;
}

function rateText({ requestsPerSecond }: Summary): string {
  return Math.round(requestsPerSecond).toLocaleString("en");
}
