/** `work`, or what `late` makes after `ms`. What becomes of `work` then, a failure too, is nobody's business any more. */
export async function inTime<T>(work: Promise<T>, ms: number, late: () => Error): Promise<T> {
  const timeUp = Promise.withResolvers<never>();
  const timer = setTimeout(() => timeUp.reject(late()), ms);
  try {
    return await Promise.race([work, timeUp.promise]);
  } finally {
    clearTimeout(timer);
  }
}
