import { unavailable } from "../errors.ts";
import { Garbage } from "../lib/garbage.ts";
import { inSlices } from "../lib/slices.ts";
import { Turns } from "../lib/turns.ts";
import { KNOWN_LOOKS_AT_ONCE, KNOWN_SLICE_MS, KNOWN_WAITING_MAX } from "../limits.ts";
import type { Page, PageQuery } from "../ports/counting.ts";
import type { Overlay } from "./overlay.ts";
import { PageReader } from "./pages.ts";
import type { SqliteLedgerReader } from "./reads.ts";

/**
 * Looks for those who are known between two collections of garbage, some 10 MB; and of so many one is of everything,
 * as what is found lives for the length of an answer and is old by then. Without them sixty answers of 180,000 looks
 * left 600 MB.
 */
const COLLECT_EVERY = 50_000;
const FULL_EVERY = 16;

/**
 * Pages, most of them at once. One for which too much has to be looked at is found a slice at a time, and other
 * requests of this thread come in between: they read other commits than it does, so it has a connection of its own,
 * made when the first one comes. Its answer is that of the moment at which its turn came: counts, overlay and the
 * snapshot's beginning are read without a pause, in the order of any page, and what the ledger commits afterwards it
 * does not see.
 */
export class LongPages {
  readonly #pages: PageReader;
  readonly #overlay: Overlay;
  readonly #open: () => SqliteLedgerReader;
  readonly #turns = new Turns();
  readonly #garbage = new Garbage(COLLECT_EVERY, FULL_EVERY);
  readonly #litter = (looks: number): void => this.#garbage.add(looks);
  #far: { ledger: SqliteLedgerReader; pages: PageReader } | null = null;
  #underWay = 0;
  #isClosed = false;

  /** `open` makes another connection. */
  constructor(parts: { overlay: Overlay; ledger: SqliteLedgerReader; open: () => SqliteLedgerReader }) {
    this.#overlay = parts.overlay;
    this.#open = parts.open;
    this.#pages = new PageReader(parts.overlay, parts.ledger, this.#litter);
  }

  /** `counts` are read again where others come first. */
  read(query: PageQuery, counts: () => number[]): Page | Promise<Page> {
    const now = counts();
    const ofActor = this.#pages.read(query, now, KNOWN_LOOKS_AT_ONCE);
    return ofActor ? { counts: now, ...ofActor } : this.#later(query, counts);
  }

  close(): void {
    this.#isClosed = true;
    if (this.#underWay === 0) this.#far?.ledger.close();
  }

  async #later(query: PageQuery, counts: () => number[]): Promise<Page> {
    if (this.#underWay >= KNOWN_WAITING_MAX)
      throw unavailable("too many pages with long lists of those whom one knows");
    this.#underWay++;
    const done = await this.#turns.take("");
    try {
      if (this.#isClosed) throw unavailable("the server stops");
      this.#far ??= this.#connect();
      const now = counts();
      return { counts: now, ...(await inSlices(this.#far.pages.sliced(query, now), KNOWN_SLICE_MS)) };
    } finally {
      this.#underWay--;
      done();
      if (this.#isClosed && this.#underWay === 0) this.#far?.ledger.close();
    }
  }

  #connect(): { ledger: SqliteLedgerReader; pages: PageReader } {
    const ledger = this.#open();
    return { ledger, pages: new PageReader(this.#overlay, ledger, this.#litter) };
  }
}
