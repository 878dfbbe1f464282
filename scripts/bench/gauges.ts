/** Where the projector is: what is in the log and not yet in the ledger. */
export interface Progress {
  /** How old the oldest record is that the ledger lacks; 0 when it lacks none. */
  readonly lagSeconds: number;
  /** Records the ledger lacks. */
  readonly behind: number;
}

const LAG = "tally_projector_lag_seconds";
const HEAD = "tally_log_head";
const APPLIED = "tally_log_applied";
const LOOK_EVERY_MS = 500;
/** Longer than the flush interval of 1 s: between two flushes the log may be empty while the table is not. */
const QUIET_LOOKS = 4;

/** Reads where the projector is from /metrics. */
export async function progressOf(url: string): Promise<Progress> {
  const response = await fetch(`${url}/metrics`);
  const text = await response.text();
  if (!response.ok) throw new Error(`/metrics answers ${response.status}`);
  return { lagSeconds: gauge(text, LAG), behind: gauge(text, HEAD) - gauge(text, APPLIED) };
}

/** Waits until all that was counted is in the ledger, so that nothing is left to do behind the next run. */
export async function settled(url: string, options: { secondsMax: number }): Promise<void> {
  const untilMs = performance.now() + options.secondsMax * 1000;
  let quiet = 0;
  while (quiet < QUIET_LOOKS) {
    const { behind, lagSeconds } = await progressOf(url);
    quiet = behind === 0 ? quiet + 1 : 0;
    if (performance.now() > untilMs) {
      throw new Error(
        `after ${options.secondsMax} s the ledger still lacks ${behind} records (${lagSeconds} s behind)`,
      );
    }
    await Bun.sleep(LOOK_EVERY_MS);
  }
}

/** The sum over all labels; throws when there is none, as a number that is missing must not look like 0. */
function gauge(text: string, name: string): number {
  const lines = text.split("\n").filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`));
  if (lines.length === 0) throw new Error(`/metrics has no ${name}`);
  return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" "))), 0);
}
