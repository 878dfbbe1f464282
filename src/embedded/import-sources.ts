import type { Position } from "../ports/log.ts";
import type { NumberedLedger, NumberedSource } from "./numbered.ts";

/** Sources remembered although the ledger has all of them. */
const SOURCES_MAX = 64;

/**
 * The sources of imports, in the memory of the writer. What the log has of one stands here, or the ledger has all of it: a
 * start begins with a ledger that is at the log's end, and only then is a source forgotten.
 */
export class ImportSources {
  readonly #ledger: NumberedLedger;
  readonly #applied: () => Position;
  readonly #sources = new Map<string, NumberedSource>();

  /** `applied`: up to where the ledger has the log. */
  constructor(ledger: NumberedLedger, applied: () => Position) {
    this.#ledger = ledger;
    this.#applied = applied;
  }

  of(name: string): NumberedSource {
    let source = this.#sources.get(name);
    if (!source) {
      if (this.#sources.size >= SOURCES_MAX) this.#forget();
      source = { name, last: this.#ledger.lastOf(name), end: 0, loggedMs: 0 };
      this.#sources.set(name, source);
    }
    return source;
  }

  #forget(): void {
    const applied = this.#applied();
    for (const [name, { end }] of this.#sources) if (end <= applied) this.#sources.delete(name);
  }
}
