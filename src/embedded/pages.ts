import { isActive, type Stamp } from "../arithmetic/stamp.ts";
import { ofRelations } from "../local/known.ts";
import type { Actor, Metric, Subject } from "../model.ts";
import type { Page, PageQuery } from "../ports/counting.ts";
import { KnownReader } from "./known.ts";
import { type Overlay, RegisterKey } from "./overlay.ts";
import type { SqliteLedgerReader } from "./reads.ts";

/** A page on one machine: the overlay first, the ledger in one snapshot second, as in EmbeddedCounting. */
export class PageReader {
  readonly #overlay: Overlay;
  readonly #ledger: SqliteLedgerReader;
  readonly #known: KnownReader;
  readonly #key = new RegisterKey();

  constructor(overlay: Overlay, ledger: SqliteLedgerReader) {
    this.#overlay = overlay;
    this.#ledger = ledger;
    this.#known = new KnownReader(overlay, ledger);
  }

  /**
   * All but the counts, which are given: those come from the table, and what it lacks must not be read in an old snapshot,
   * as it is installed there.
   */
  read({ subjects, metrics, actor, known }: PageQuery, counts: number[]): Page {
    const relations = metrics.filter(({ kind }) => kind === "relation");
    if (actor === null || relations.length === 0) return { counts, mine: [], known: [] };
    const onTheWay = this.#onTheWay(subjects, actor, relations);
    const likers = known && this.#known.prepare({ actor, known, subjects, relations }, ofRelations(metrics, counts));
    return this.#ledger.snapshot(() => ({
      counts,
      mine: this.#mine({ subjects, actor, relations }, onTheWay),
      known: likers ? this.#known.read(likers) : [],
    }));
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

  #mine(
    { subjects, actor, relations }: { subjects: readonly Subject[]; actor: Actor; relations: readonly Metric[] },
    onTheWay: Stamp[] | null,
  ): boolean[] {
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
