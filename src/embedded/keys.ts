import { KEYS_MS } from "../limits.ts";

/** Keys are stored by steps of this length, so that a look needs no index by time and old ones are dropped together. */
const KEY_STEP_MS = 5 * 60_000;
/** The steps before the running one that can hold a key of the last 10 minutes. */
export const KEY_STEPS = Math.ceil(KEYS_MS / KEY_STEP_MS);

export function keyStep(atMs: number): number {
  return Math.floor(atMs / KEY_STEP_MS);
}
