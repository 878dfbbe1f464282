import { type Problem, unavailable } from "../errors.ts";
import { ACT_WAIT_MS_MAX } from "../limits.ts";

const POLL_MS = 4;

/** What `attempt` gives once the counter table has room; null: not now. Meanwhile `press` asks for some; 503 when that takes too long. */
export async function untilRoom<T>(press: () => void, attempt: () => T | null): Promise<T> {
  const deadline = performance.now() + ACT_WAIT_MS_MAX;
  for (;;) {
    const result = attempt();
    if (result !== null) return result;
    if (performance.now() > deadline) throw noRoom();
    press();
    await Bun.sleep(POLL_MS);
  }
}

export function noRoom(): Problem {
  return unavailable("the counters in memory are full, and none may leave yet (--counters-max); nothing was done");
}
