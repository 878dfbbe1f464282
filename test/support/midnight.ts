const DAY_MS = 86_400_000;

/** Resolves at once, but behind midnight (UTC) where it is less than `ms` away: what is of today when it is told is so when it is asked for. */
export async function clearOfMidnight(ms: number): Promise<void> {
  const leftMs = DAY_MS - (Date.now() % DAY_MS);
  if (leftMs < ms) await Bun.sleep(leftMs + 1_000);
}
