export const DAY_S = 86_400;
export const DAY_MS = 1_000 * DAY_S;

/** The UTC day of a time, in days since 1970. */
export function dayOf(ms: number): number {
  return Math.floor(ms / DAY_MS);
}
