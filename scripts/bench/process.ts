import { readFileSync } from "node:fs";

/** `getconf CLK_TCK`: 100 on every Linux that Bun runs on. */
const TICKS_PER_SECOND = 100;
const KB = 1024;

/** What a process holds, in bytes, pages of mapped files included. */
export interface Memory {
  readonly resident: number;
  /** Like resident, with pages that are shared between processes divided among them. */
  readonly proportional: number;
  readonly anonymous: number;
}

export function memoryOf(pid: number): Memory {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  return { resident: kb(status, "VmRSS"), proportional: kb(rollup, "Pss"), anonymous: kb(rollup, "Anonymous") };
}

/** Seconds of processor time a process has used so far, all threads, user and system. */
export function cpuSecondsOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  // The name of the program may hold blanks; it ends at the last parenthesis. User and system time are fields 14 and 15.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

function kb(text: string, name: string): number {
  const found = new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(text)?.[1];
  if (found === undefined) throw new Error(`no ${name} in /proc`);
  return Number(found) * KB;
}
