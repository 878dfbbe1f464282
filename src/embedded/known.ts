import { TOP } from "../arithmetic/place.ts";
import { isActive, type Stamp } from "../arithmetic/stamp.ts";
import type { Sliced } from "../lib/slices.ts";
import { type KnownPlan, knownActors, knownPlan } from "../local/known.ts";
import type { Actor, Metric, Subject } from "../model.ts";
import type { Known, KnownActors } from "../ports/counting.ts";
import { type Overlay, type OverlayItem, RegisterKey } from "./overlay.ts";
import type { SqliteLedgerReader } from "./reads.ts";

/** One list of actors. */
interface List {
  metric: number;
  subject: Subject;
  /** Active actors, as the table shows it: about how long the list is. */
  count: number;
  onTheWay: OverlayItem[];
}

/** What was on its way before the ledger's snapshot began. */
export interface KnownQuestion {
  actor: Actor;
  known: Known;
  lists: List[];
  /** The actor's follows. */
  onTheWay: OverlayItem[];
}

/** What it takes to answer it. */
interface KnownWork extends KnownQuestion {
  plan: KnownPlan;
  looks: number;
}

/** Rows of a list in one statement, and looks between two ends of a slice: each below a millisecond. */
const CHUNK = 500;
const STEP = 256;

/**
 * Whom an actor follows among the actors of some relations. Both sides are the ledger's rows with what was on its way laid
 * over them: of each register the higher stamp holds, and the ledger is read second.
 */
export class KnownReader {
  readonly #overlay: Overlay;
  readonly #ledger: SqliteLedgerReader;
  readonly #litter: (looks: number) => void;
  readonly #key = new RegisterKey();

  /** `litter` hears of looks, each of which leaves a row and a string or two behind. */
  constructor(overlay: Overlay, ledger: SqliteLedgerReader, litter: (looks: number) => void) {
    this.#overlay = overlay;
    this.#ledger = ledger;
    this.#litter = litter;
  }

  /** Reads the overlay: before the snapshot. */
  prepare(
    asked: { actor: Actor; known: Known; subjects: readonly Subject[]; relations: readonly Metric[] },
    counts: readonly number[],
  ): KnownQuestion {
    const { actor, known, subjects, relations } = asked;
    const { seed } = this.#overlay;
    const lists: List[] = [];
    for (const subject of subjects) {
      this.#key.setSubject(subject, seed);
      for (const { id } of relations) {
        const onTheWay = this.#overlay.bySubject(id, this.#key);
        lists.push({ metric: id, subject, count: counts[lists.length] as number, onTheWay });
      }
    }
    this.#key.setActor(actor, seed);
    const follows = this.#overlay.byActor(known.relation.id, this.#key);
    return { actor, known, lists, onTheWay: follows.filter(({ id }) => id.startsWith(`${known.type}/`)) };
  }

  /** Reads the ledger, as `read` does: in the same snapshot of their caller. */
  plan(question: KnownQuestion): KnownWork {
    const { actor, known, lists, onTheWay } = question;
    const followed = this.#ledger.actorCount(known.relation.id, actor, known.type) + onTheWay.length;
    const lengths = lists.map(({ count, onTheWay }) => count + onTheWay.length);
    return { ...question, ...knownPlan(followed, lengths) };
  }

  *read(work: KnownWork): Sliced<KnownActors[]> {
    const { actor, known, lists } = work;
    const { relation, type } = known;
    const newest = new Map(work.onTheWay.map(({ id, stamp }) => [id, stamp]));
    const isFollowing = (id: Actor): boolean => {
      const subject = `${type}/${id}`;
      const stored = this.#ledger.register(relation.id, subject, actor);
      return isActive(Math.max(stored, newest.get(subject) ?? 0));
    };
    const answer: KnownActors[] = [];
    const followed = work.plan === "by followed" ? yield* this.#followed(work, isFollowing) : null;
    for (const list of lists) {
      const isShort = followed === null || list.count + list.onTheWay.length <= followed.size;
      const isFollowed = followed === null ? isFollowing : (id: Actor) => followed.has(id);
      const found = yield* isShort ? this.#among(list, isFollowed) : this.#of(followed, list);
      answer.push(knownActors(found));
      yield;
    }
    return answer;
  }

  *#followed({ actor, known, onTheWay }: KnownQuestion, isFollowing: (id: Actor) => boolean): Sliced<Set<Actor>> {
    const from = known.type.length + 1;
    const followed = new Set<Actor>();
    for (const { subject } of this.#ledger.subjectsOfType(known.relation.id, actor, known.type)) {
      followed.add(subject.slice(from));
      if (followed.size % STEP === 0) yield this.#litter(STEP);
    }
    let looks = 0;
    for (const { id } of onTheWay) {
      const other = id.slice(from);
      if (isFollowing(other)) followed.add(other);
      else followed.delete(other);
      if (++looks % STEP === 0) yield this.#litter(STEP);
    }
    return followed;
  }

  /** Walks the list. */
  *#among(list: List, isFollowed: (id: Actor) => boolean): Sliced<Map<Actor, Stamp>> {
    const found = new Map<Actor, Stamp>();
    if (list.count + list.onTheWay.length === 0) return found;
    for (let before = TOP; ; ) {
      const rows = this.#ledger.newestActors(list.metric, list.subject, before, CHUNK);
      for (const { id, stamp } of rows) if (isFollowed(id)) found.set(id, stamp);
      this.#litter(rows.length);
      const last = rows.at(-1);
      if (!last || rows.length < CHUNK) break;
      before = last;
      yield;
    }
    let looks = 0;
    for (const { id, stamp } of list.onTheWay) {
      if (++looks % STEP === 0) yield this.#litter(STEP);
      if (stamp <= this.#ledger.register(list.metric, list.subject, id)) continue;
      if (isActive(stamp) && isFollowed(id)) found.set(id, stamp);
      else found.delete(id);
    }
    return found;
  }

  /** Walks the followed. */
  *#of(followed: ReadonlySet<Actor>, list: List): Sliced<Map<Actor, Stamp>> {
    const found = new Map<Actor, Stamp>();
    const newest = new Map(list.onTheWay.map(({ id, stamp }) => [id, stamp]));
    let looks = 0;
    for (const id of followed) {
      if (++looks % STEP === 0) yield this.#litter(STEP);
      const stored = this.#ledger.register(list.metric, list.subject, id);
      const stamp = Math.max(stored, newest.get(id) ?? 0);
      if (isActive(stamp)) found.set(id, stamp);
    }
    return found;
  }
}
