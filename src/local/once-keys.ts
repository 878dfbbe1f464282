import { KEYS_MAX, KEYS_MS } from "../limits.ts";
import type { OnceKey } from "../ports/counting.ts";
import type { RecordOnce } from "../records.ts";

/**
 * The Idempotency-Keys of the last 10 minutes, in the memory of the one thread that logs the acts they name. They are in the
 * log with these acts, from where a start has them back.
 */
export class OnceKeys {
  readonly #seen = new Map<string, { body: string; atMs: number }>();
  readonly #keysMax: number;

  constructor(keysMax = KEYS_MAX) {
    this.#keysMax = keysMax;
  }

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
    return this.#seen.size < this.#keysMax;
  }

  remember({ key, body, atMs }: RecordOnce): void {
    this.#seen.delete(key);
    this.#seen.set(key, { body, atMs });
  }

  /** The act it named did not happen after all. */
  forget(once: OnceKey): void {
    this.#seen.delete(once.key);
  }

  /** Makes room where none is left, for who may also find keys elsewhere. */
  forgetOldest(): void {
    for (const key of this.#seen.keys()) {
      this.#seen.delete(key);
      return;
    }
  }
}
