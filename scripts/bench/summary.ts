import type { Run } from "./oha.ts";

/** A run with the processor time the server took for it; the rest of the machine belongs to oha. */
export interface ServerRun extends Run {
  readonly cpuMicrosPerRequest: number;
}

/** The medians over the rounds of one side. */
export interface Summary extends Omit<ServerRun, "requests" | "accepted"> {
  /** Fastest against slowest round: above 1.2 the machine had other things to do. */
  readonly spread: number;
  readonly rounds: readonly ServerRun[];
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const low = sorted[Math.floor((sorted.length - 1) / 2)];
  const high = sorted[Math.ceil((sorted.length - 1) / 2)];
  if (low === undefined || high === undefined) throw new Error("the median of nothing");
  return (low + high) / 2;
}

export function summaryOf(rounds: readonly ServerRun[]): Summary {
  const over = (field: keyof ServerRun) => median(rounds.map((run) => run[field]));
  const speeds = rounds.map((run) => run.requestsPerSecond);
  return {
    requestsPerSecond: over("requestsPerSecond"),
    p50Ms: over("p50Ms"),
    p99Ms: over("p99Ms"),
    p999Ms: over("p999Ms"),
    maxMs: over("maxMs"),
    cpuMicrosPerRequest: over("cpuMicrosPerRequest"),
    spread: Math.max(...speeds) / Math.min(...speeds),
    rounds,
  };
}
