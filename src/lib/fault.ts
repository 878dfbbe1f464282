import { writeSync } from "node:fs";

/**
 * The one seam for tests of what happens when a process dies between two steps. `FAULT_POINT=name:3` stops the process
 * with SIGKILL when the point `name` is reached for the third time in one thread; `name:3:exit` ends only that thread.
 *
 * `FAULT_POINT=clock:10000` makes the clock that stamps acts wrong by so many milliseconds.
 *
 * Never from source, and never in dist/tally, whose build puts `undefined` here: only dist/tally-faults has it.
 */
const asked = Bun.isStandaloneExecutable ? process.env.FAULT_POINT : undefined;
const [name = "", times = "1", how = "kill"] = asked?.split(":") ?? [];
let left = Number(times);

/** `first` is what happens half way when the process dies here: it takes the place of the whole. */
export function fault(point: string, first?: () => void): void {
  if (asked === undefined) return;
  // So that the build drops what follows; the look above is for speed.
  if (process.env.FAULT_POINT === undefined) return;
  if (point !== name || --left !== 0) return;
  first?.();
  writeSync(2, `fault: ${point}\n`);
  if (how === "exit") process.exit(1);
  process.kill(process.pid, "SIGKILL");
  for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000);
}

/** The wall clock for stamps, in milliseconds since 1970; in a test build it may be wrong. */
export function wallMs(): number {
  if (process.env.FAULT_POINT === undefined) return Date.now();
  return name === "clock" ? Date.now() + Number(times) : Date.now();
}
