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
/** In a cluster: what the ledger lacks of this node, in bytes, and of the log, in messages. */
const OUTBOX = "tally_outbox_bytes";
const LAG_MESSAGES = "tally_projector_lag_messages";
const LOOK_EVERY_MS = 500;
/** Longer than the flush interval of 1 s: between two flushes the log may be empty while the table is not. */
const QUIET_LOOKS = 4;

/** Reads where the projector is from /metrics. */
export async function progressOf(url: string): Promise<Progress> {
  const text = await metricsOf(url);
  return { lagSeconds: gauge(text, LAG), behind: gauge(text, HEAD) - gauge(text, APPLIED) };
}

/** The text of /metrics. */
export async function metricsOf(url: string): Promise<string> {
  const response = await fetch(`${url}/metrics`);
  const text = await response.text();
  if (!response.ok) throw new Error(`/metrics answers ${response.status}`);
  return text;
}

/**
 * Waits until all that was counted is in the ledger, so that nothing is left to do behind the next run. How many seconds
 * it took until then.
 */
export async function settled(url: string, options: { secondsMax: number }): Promise<number> {
  const beganMs = performance.now();
  const secondsNow = () => (performance.now() - beganMs) / 1000;
  let quietSeconds = 0;
  for (let quiet = 0; quiet < QUIET_LOOKS; ) {
    const behind = behindIn(await metricsOf(url));
    if (behind === "" && quiet++ === 0) quietSeconds = secondsNow();
    if (behind !== "") quiet = 0;
    if (secondsNow() > options.secondsMax) throw new Error(`after ${options.secondsMax} s still behind: ${behind}`);
    await Bun.sleep(LOOK_EVERY_MS);
  }
  return quietSeconds;
}

/** What the ledger lacks, in words; nothing when it lacks nothing. */
function behindIn(text: string): string {
  const [name, amount] = text.includes(`\n${OUTBOX} `)
    ? ["bytes of the outbox or messages of the log", gauge(text, OUTBOX) + gauge(text, LAG_MESSAGES)]
    : ["records", gauge(text, HEAD) - gauge(text, APPLIED)];
  return amount === 0 ? "" : `the ledger lacks ${amount} ${name}`;
}

/** The sum over all labels; throws when there is none, as a number that is missing must not look like 0. */
export function gauge(text: string, name: string): number {
  const lines = text.split("\n").filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`));
  if (lines.length === 0) throw new Error(`/metrics has no ${name}`);
  return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" "))), 0);
}
