import { isActive, type Stamp } from "../arithmetic/stamp.ts";
import { atOnce, type Sliced } from "../lib/slices.ts";
import { ofRelations } from "../local/known.ts";
import type { Actor, Metric, Subject } from "../model.ts";
import type { Page, PageQuery } from "../ports/counting.ts";
import { type KnownQuestion, KnownReader } from "./known.ts";
import { type Overlay, RegisterKey } from "./overlay.ts";
import type { SqliteLedgerReader } from "./reads.ts";

/** What a page says of its actor. */
type OfActor = Omit<Page, "counts">;

/** A page on one machine: the overlay first, the ledger in one snapshot second, as in EmbeddedCounting. */
export class PageReader {
  readonly #overlay: Overlay;
  readonly #ledger: SqliteLedgerReader;
  readonly #known: KnownReader;
  readonly #key = new RegisterKey();

  constructor(overlay: Overlay, ledger: SqliteLedgerReader, litter: (looks: number) => void) {
    this.#overlay = overlay;
    this.#ledger = ledger;
    this.#known = new KnownReader(overlay, ledger, litter);
  }

  /**
   * All but the counts, which are given: those come from the table, and what it lacks must not be read in an old snapshot,
   * as it is installed there. Null: it takes so many looks that it is not for others to wait for.
   */
  read(query: PageQuery, counts: readonly number[], looksMax: number): OfActor | null {
    const work = this.#begin(query, counts);
    if (work === null) return { mine: [], known: [] };
    return this.#ledger.snapshot(() => {
      const known = work.question && this.#known.plan(work.question);
      if (known && known.looks > looksMax) return null;
      return { mine: this.#mine(work), known: known ? atOnce(this.#known.read(known)) : [] };
    });
  }

  /** The same, cut into pieces. The connection is its alone until it ends, and the snapshot begins with the first piece. */
  *sliced(query: PageQuery, counts: readonly number[]): Sliced<OfActor> {
    const work = this.#begin(query, counts);
    if (work === null) return { mine: [], known: [] };
    const release = this.#ledger.hold();
    try {
      const mine = this.#mine(work);
      return { mine, known: work.question ? yield* this.#known.read(this.#known.plan(work.question)) : [] };
    } finally {
      release();
    }
  }

  /** What is on its way: before the snapshot. */
  #begin({ subjects, metrics, actor, known }: PageQuery, counts: readonly number[]): PageWork | null {
    const relations = metrics.filter(({ kind }) => kind === "relation");
    if (actor === null || relations.length === 0) return null;
    const onTheWay = this.#onTheWay(subjects, actor, relations);
    const question = known && this.#known.prepare({ actor, known, subjects, relations }, ofRelations(metrics, counts));
    return { subjects, actor, relations, onTheWay, question };
  }

  /** The actor's stamps that are on their way, subject by subject; null: none of them has any. */
  #onTheWay(subjects: readonly Subject[], actor: Actor, relations: readonly Metric[]): Stamp[] | null {
    const key = this.#key;
    const overlay = this.#overlay;
    key.setActor(actor, overlay.seed);
    const asked = relations.map(({ id }) => overlay.mayHoldActor(id, key));
    if (!asked.includes(true)) return null;
    const stamps: Stamp[] = [];
    for (const subject of subjects) {
      key.set(subject, actor, overlay.seed);
      for (let j = 0; j < relations.length; j++) {
        stamps.push(asked[j] ? overlay.find((relations[j] as Metric).id, key) : 0);
      }
    }
    return stamps;
  }

  #mine({ subjects, actor, relations, onTheWay }: PageWork): boolean[] {
    const places = new Map(relations.map(({ id }, j) => [id, j]));
    const stamps = onTheWay ?? new Array<Stamp>(subjects.length * relations.length).fill(0);
    this.#ledger.registersOfActor(actor, subjects, (i, metric, stamp) => {
      const j = places.get(metric);
      if (j === undefined) return;
      const at = i * relations.length + j;
      if (stamp > (stamps[at] as Stamp)) stamps[at] = stamp;
    });
    return stamps.map(isActive);
  }
}

interface PageWork {
  subjects: readonly Subject[];
  actor: Actor;
  relations: readonly Metric[];
  /** Null: the actor has nothing on its way. */
  onTheWay: Stamp[] | null;
  question: KnownQuestion | null;
}
