const WAIT_MS_MAX = 15_000;
const PAUSE_MS = 20;

/** What `look` gives once it does not throw any more; with its last error after 15 s. */
export async function eventually<T>(look: () => Promise<T>, waitMsMax = WAIT_MS_MAX): Promise<T> {
  for (const deadline = performance.now() + waitMsMax; ; ) {
    try {
      return await look();
    } catch (error) {
      if (performance.now() > deadline) throw error;
    }
    await Bun.sleep(PAUSE_MS);
  }
}
