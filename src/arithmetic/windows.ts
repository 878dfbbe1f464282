/** What rankings look back on. */
export const WINDOWS = ["1h", "24h", "7d", "30d", "all", "hot"] as const;
export type WindowName = (typeof WINDOWS)[number];

/** A window that moves on: the running step and the full ones before it. */
interface Sliding {
  name: WindowName;
  stepS: number;
  steps: number;
}

/** Their places are those in WINDOWS. */
export const SLIDING: readonly Sliding[] = [
  { name: "1h", stepS: 60, steps: 60 },
  { name: "24h", stepS: 600, steps: 144 },
  { name: "7d", stepS: 3_600, steps: 168 },
  { name: "30d", stepS: 3_600, steps: 720 },
];
export const ALL = WINDOWS.indexOf("all");
export const HOT = WINDOWS.indexOf("hot");

export const MINUTE_S = 60;
export const HOUR_S = 3_600;
/** 2000-01-01T00:00:00Z: where windows without a beginning begin. */
const EVER_S = 946_684_800;

/** Where a window begins and ends while `second` runs. */
export function rangeOf(window: number, second: number): { from: number; to: number } {
  const sliding = SLIDING[window];
  if (!sliding) return { from: EVER_S, to: stepAt(second, MINUTE_S) + MINUTE_S };
  const { stepS, steps } = sliding;
  const to = stepAt(second, stepS) + stepS;
  return { from: to - stepS * steps, to };
}

/** The minute that a millisecond is in, in seconds. */
export function minuteAt(ms: number): number {
  return Math.floor(ms / 60_000) * MINUTE_S;
}

/** The hour that a second is in. */
export function hourOf(second: number): number {
  return stepAt(second, HOUR_S);
}

/** The step that a second is in. */
export function stepAt(second: number, stepS: number): number {
  return second - (second % stepS);
}
