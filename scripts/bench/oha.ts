import { homedir } from "node:os";
import { join } from "node:path";
import { runChild } from "./children.ts";

export const CONNECTIONS = 64;
const OVERTIME_SECONDS_MAX = 60;

/** Requests with random keys; the path is a rand_regex, which costs oha less than 2 % against a fixed one. */
export interface Load {
  readonly method: "GET" | "POST" | "PUT";
  readonly path: string;
  /** A file with a JSON body in each line. */
  readonly bodies?: string;
}

export interface RunOptions {
  readonly seconds: number;
  readonly connections?: number;
  /** At most; without it as many as there can be. */
  readonly perSecond?: number;
}

/** One run of oha. */
export interface Run {
  readonly requests: number;
  /** Of these, answered 202: durable, but not shown yet. */
  readonly accepted: number;
  readonly requestsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly maxMs: number;
}

interface Output {
  summary: { requestsPerSec: number; slowest: number };
  latencyPercentiles: { p50: number; p99: number; "p99.9": number };
  statusCodeDistribution: Record<string, number>;
  errorDistribution: Record<string, number>;
}

/** Where oha is, or a message on how to get it. */
export function findOha(): string {
  const found = Bun.which("oha") ?? Bun.which(join(process.env.CARGO_HOME ?? join(homedir(), ".cargo"), "bin/oha"));
  if (!found) throw new Error("oha is missing: cargo install oha --locked");
  return found;
}

/** Loads a server for a while; throws unless every answer was 2xx. */
export async function oha(url: string, load: Load, options: RunOptions): Promise<Run> {
  const { seconds, connections = CONNECTIONS, perSecond } = options;
  const rate = perSecond === undefined ? [] : ["-q", String(perSecond)];
  const limits = ["-z", `${seconds}s`, "-w", "-c", String(connections), ...rate];
  const target = ["-m", load.method, "--rand-regex-url", url + load.path];
  const bodies = load.bodies === undefined ? [] : ["-T", "application/json", "-Z", load.bodies];
  const command = [findOha(), ...limits, "--no-tui", "--output-format", "json", ...bodies, ...target];
  const output = JSON.parse(await runChild(command, { secondsMax: seconds + OVERTIME_SECONDS_MAX })) as Output;
  const { summary, latencyPercentiles, statusCodeDistribution: statuses, errorDistribution: errors } = output;
  const refused = Object.entries(statuses).filter(([status]) => !status.startsWith("2"));
  if (refused.length > 0 || Object.keys(errors).length > 0) {
    throw new Error(`${load.method} ${load.path}: ${JSON.stringify({ statuses, errors })}`);
  }
  return {
    requests: Object.values(statuses).reduce((sum, count) => sum + count, 0),
    accepted: statuses["202"] ?? 0,
    requestsPerSecond: summary.requestsPerSec,
    p50Ms: latencyPercentiles.p50 * 1000,
    p99Ms: latencyPercentiles.p99 * 1000,
    p999Ms: latencyPercentiles["p99.9"] * 1000,
    maxMs: summary.slowest * 1000,
  };
}
