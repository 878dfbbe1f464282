import { KEYS_MAX, KEYS_MS } from "../limits.ts";
import type { OnceKey } from "../ports/counting.ts";
import type { RecordOnce } from "../records.ts";

/**
 * The Idempotency-Keys of the last 10 minutes, in the writer's memory. They are in the log with the act they name, so
 * after a restart the ledger gives them back.
 */
export class OnceKeys {
  readonly #seen = new Map<string, { body: string; atMs: number }>();

  /** "new", "repeat", or "other-body" for a key that named something else. */
  look(once: OnceKey, nowMs: number): "new" | "repeat" | "other-body" {
    const known = this.#seen.get(once.key);
    if (!known || known.atMs + KEYS_MS <= nowMs) return "new";
    return known.body === once.body ? "repeat" : "other-body";
  }

  /** Whether another key can be remembered; forgets those whose time is over. */
  room(nowMs: number): boolean {
    for (const [key, { atMs }] of this.#seen) {
      if (atMs + KEYS_MS > nowMs) break;
      this.#seen.delete(key);
    }
    return this.#seen.size < KEYS_MAX;
  }

  remember({ key, body, atMs }: RecordOnce): void {
    this.#seen.delete(key);
    this.#seen.set(key, { body, atMs });
  }

  /** The act it named did not happen after all. */
  forget(once: OnceKey): void {
    this.#seen.delete(once.key);
  }

  get size(): number {
    return this.#seen.size;
  }
}
