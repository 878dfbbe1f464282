import { EXIT, StartError } from "../errors.ts";

const TRY_MS_MIN = 500;
const TRY_MS_MAX = 5_000;

/**
 * Repeats `work` until it has something. Rejects as soon as the process is to stop, whatever is under way: a start that waits
 * had nothing to lose yet.
 */
export async function untilThere<T>(stopping: AbortSignal | undefined, work: () => Promise<T | null>): Promise<T> {
  const stopped = Promise.withResolvers<never>();
  // Whoever is not waiting any more need not hear of it.
  stopped.promise.catch(() => undefined);
  const abort = () => stopped.reject(new StartError("stopped while it waited for its stores", EXIT.ok));
  if (stopping?.aborted) abort();
  stopping?.addEventListener("abort", abort);
  try {
    for (let waitMs = TRY_MS_MIN; ; waitMs = Math.min(2 * waitMs, TRY_MS_MAX)) {
      const found = await Promise.race([work(), stopped.promise]);
      if (found !== null) return found;
      await Promise.race([Bun.sleep(waitMs), stopped.promise]);
    }
  } finally {
    stopping?.removeEventListener("abort", abort);
  }
}
