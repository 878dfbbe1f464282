import { unavailable } from "../errors.ts";
import { HotStoreAway } from "../ports/hot-store.ts";
import { LedgerUnavailable } from "../ports/ledger.ts";
import { log } from "../telemetry/log.ts";

/** Whether Redis or MySQL cannot be asked now: what the outside can do to us, and will pass. */
export function isAway(error: unknown): boolean {
  return error instanceof HotStoreAway || error instanceof LedgerUnavailable;
}

export const AWAY: unique symbol = Symbol("away");

/** For `catch`: what a store that is away answers. */
export function storeAway(error: unknown): typeof AWAY {
  if (isAway(error)) return AWAY;
  throw error;
}

/** A look at the stores that will come again: null, or what it failed with. */
export async function tried(look: () => Promise<void>): Promise<unknown> {
  try {
    await look();
    return null;
  } catch (error) {
    if (!isAway(error)) log.limited("look", 10_000).error("the stores cannot be compared; tried again", { error });
    return error;
  }
}

/** What `tried` told, for people; null where all was well. */
export function troubleOf(failure: unknown): string | null {
  return failure instanceof Error ? failure.message : null;
}

/** What can only be read from MySQL; `unavailable` where that is away. */
export async function fromLedger<T>(read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (!isAway(error)) throw error;
    throw unavailable("MySQL is away, and only it has this");
  }
}
