import { EXIT, StartError } from "../errors.ts";

/** Waits between two tries to reach a store; throws as soon as the process is to stop, which had nothing to lose yet. */
export async function pause(ms: number, stopping: AbortSignal | undefined): Promise<void> {
  const aborted = Promise.withResolvers<void>();
  const abort = () => aborted.resolve();
  stopping?.addEventListener("abort", abort);
  await Promise.race([Bun.sleep(ms), aborted.promise]);
  stopping?.removeEventListener("abort", abort);
  if (stopping?.aborted) throw new StartError("stopped while it waited for its stores", EXIT.ok);
}
