import { EXIT, StartError } from "../errors.ts";
import { LedgerUnavailable } from "../ports/ledger.ts";
import { KafkaAway } from "./kafka/client.ts";

const TRY_MS_MIN = 500;
const TRY_MS_MAX = 5_000;

/**
 * Repeats `work` until its stores answer; `away` is told each time, and what it returns is taken instead. Rejects as soon as
 * the process is to stop, which had nothing to lose yet.
 */
export async function untilThere<T>(
  stopping: AbortSignal | undefined,
  work: () => Promise<T>,
  away: (error: Error) => T | undefined,
): Promise<T> {
  for (let waitMs = TRY_MS_MIN; ; waitMs = Math.min(2 * waitMs, TRY_MS_MAX)) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof LedgerUnavailable || error instanceof KafkaAway)) throw error;
      const instead = away(error);
      if (instead !== undefined) return instead;
      await pause(waitMs, stopping);
    }
  }
}

async function pause(ms: number, stopping: AbortSignal | undefined): Promise<void> {
  const aborted = Promise.withResolvers<void>();
  const abort = () => aborted.resolve();
  stopping?.addEventListener("abort", abort);
  await Promise.race([Bun.sleep(ms), aborted.promise]);
  stopping?.removeEventListener("abort", abort);
  if (stopping?.aborted) throw new StartError("stopped while it waited for its stores", EXIT.ok);
}
