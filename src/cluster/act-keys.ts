import { OnceKeys } from "../local/once-keys.ts";
import type { OnceKey } from "../ports/counting.ts";
import type { LogRecord, RecordOnce } from "../records.ts";

/** The body that stands with a key which no caller gave: nobody comes with it again. */
export const NO_BODY = "0".repeat(16);

/**
 * The keys of the acts that this node has logged, in its log thread, through which all of them go.
 *
 * Redis and the ledger know keys for all nodes, but a look into a store that is away finds nothing, and then an act with a key
 * that named another body would be logged, answered 202, and dropped by the ledger, which takes a key once. So this node's own
 * keys are known here, whatever is away. An act with the same body is logged again, and changes nothing.
 *
 * A key that was taken on another node, or by this one before it was started anew and the ledger had it, may not be known
 * while a store is away. An act with another body is logged then, as nobody can tell it from a first one: to refuse it would be
 * to refuse all with a key, and writes go on while a store is away. The act that the key names is counted once all the same,
 * the first one in the log; whoever sent two under one name finds out with 422 as soon as the key can be known.
 */
export class ActKeys {
  readonly #keys: OnceKeys;

  constructor(keysMax?: number) {
    this.#keys = new OnceKeys(keysMax);
  }

  /** Whether the key is that of another body. */
  isReused(once: OnceKey, nowMs: number): boolean {
    return this.#keys.look(once, nowMs) === "other-body";
  }

  /** Whether the key, with this body, has named an act before. */
  isRepeated(once: OnceKey, nowMs: number): boolean {
    return once.body !== NO_BODY && this.#keys.look(once, nowMs) === "repeat";
  }

  /** The act is being logged; whether that is what made the key known. Where there is no room the oldest one goes. */
  take(once: RecordOnce): boolean {
    if (once.body === NO_BODY || this.#keys.look(once, once.atMs) === "repeat") return false;
    if (!this.#keys.room(once.atMs)) this.#keys.forgetOldest();
    this.#keys.remember(once);
    return true;
  }

  /** The act that made it known is not in the log after all. */
  forget(once: OnceKey): void {
    this.#keys.forget(once);
  }

  /** What an earlier run left in the outbox. */
  inherit(records: readonly LogRecord[]): void {
    for (const { once } of records) if (once && !this.isReused(once, once.atMs)) this.take(once);
  }
}
