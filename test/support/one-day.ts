const DAY_MS = 86_400_000;

/** Waits for midnight (UTC) where it is nearer than `ms`: what follows is of one day, for tests of what was "today". */
export async function untilOneDayLasts(ms: number): Promise<void> {
  const left = DAY_MS - (Date.now() % DAY_MS);
  if (left < ms) await Bun.sleep(left);
}
