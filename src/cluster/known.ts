import { isActive, type Stamp } from "../arithmetic/stamp.ts";
import { Garbage } from "../lib/garbage.ts";
import { inSlices, type Sliced } from "../lib/slices.ts";
import { KNOWN_SLICE_MS } from "../limits.ts";
import { knownActors, knownPlan } from "../local/known.ts";
import type { Actor } from "../model.ts";
import type { Known, KnownActors } from "../ports/counting.ts";
import type { CountName, RegisterName } from "../ports/hot-store.ts";
import type { SharedLedger } from "./ledger.ts";

/** A register on its way: its actor (of a list) or its subject (of an actor), and its newest stamp. */
interface OnTheWay {
  id: string;
  stamp: Stamp;
}

/** A list of actors, and about how long it is. */
interface KnownList extends CountName {
  count: number;
}

interface KnownParts {
  ledger: SharedLedger;
  actorsOnTheWay(list: CountName): Promise<OnTheWay[]>;
  subjectsOnTheWay(actor: Actor, metric: number, type: string): Promise<OnTheWay[]>;
}

/** Up to so many actors in all are walked without asking how many are followed. */
const WALKED_MAX = 2_000;
/** Rows between two ends of a slice, and between two collections of what they leave: some 10 MB. */
const STEP = 256;
const COLLECT_EVERY = 10_000;
const FULL_EVERY = 16;
const NOBODY: KnownActors = { count: 0, actors: [] };

/**
 * Whom an actor follows among the actors of some lists: what is on its way on both sides first, then one statement of the
 * ledger. Of each register the higher stamp holds, so every one that is on its way is asked for in that statement too.
 */
export class KnownReader {
  readonly #parts: KnownParts;
  readonly #garbage = new Garbage(COLLECT_EVERY, FULL_EVERY);

  constructor(parts: KnownParts) {
    this.#parts = parts;
  }

  /** In the order of the lists. Lists that show 0 have nobody. */
  async read(actor: Actor, known: Known, all: readonly KnownList[]): Promise<KnownActors[]> {
    const lists = all.filter(({ count }) => count > 0);
    if (lists.length === 0) return all.map(() => NOBODY);
    const [follows, ...moving] = await Promise.all([
      this.#parts.subjectsOnTheWay(actor, known.relation.id, known.type),
      ...lists.map((list) => this.#parts.actorsOnTheWay(list)),
    ]);
    const from = known.type.length + 1;
    const newlyFollowed = follows.map(({ id, stamp }) => ({ id: id.slice(from), stamp }));
    const registers = new Registers();
    const followOf = (id: Actor) => ({ metric: known.relation.id, subject: `${known.type}/${id}`, actor });
    for (const { id, stamp } of newlyFollowed) {
      registers.add(followOf(id), stamp);
      for (const { metric, subject } of lists) registers.add({ metric, subject, actor: id }, 0);
    }
    for (const [i, { metric, subject }] of lists.entries()) {
      for (const { id, stamp } of moving[i] ?? []) {
        registers.add({ metric, subject, actor: id }, stamp);
        registers.add(followOf(id), 0);
      }
    }
    const ways = await this.#ways(actor, known, lists);
    const asked = { actor, relation: known.relation.id, type: known.type, ...ways, registers: registers.names() };
    const { listed, stored } = await this.#parts.ledger.knownActors(asked);
    for (const [name, stamp] of stored) registers.add(name, stamp);
    const found = await inSlices(this.#sorted(lists, listed), KNOWN_SLICE_MS);
    for (const [i, list] of lists.entries()) {
      const known = found.get(nameOf(list)) as Map<Actor, Stamp>;
      for (const { id } of [...(moving[i] ?? []), ...newlyFollowed]) {
        const stamp = registers.of({ ...list, actor: id });
        if (isActive(stamp) && isActive(registers.of(followOf(id)))) known.set(id, stamp);
        else known.delete(id);
      }
    }
    return all.map((list) => knownActors(found.get(nameOf(list)) ?? new Map()));
  }

  /** By list. What is found may be hundreds of thousands, and the other requests of this thread come in between. */
  *#sorted(
    lists: readonly KnownList[],
    listed: readonly [RegisterName, Stamp][],
  ): Sliced<Map<string, Map<Actor, Stamp>>> {
    const found = new Map(lists.map((list) => [nameOf(list), new Map<Actor, Stamp>()]));
    for (let i = 0; i < listed.length; i++) {
      const [name, stamp] = listed[i] as [RegisterName, Stamp];
      found.get(nameOf(name))?.set(name.actor, stamp);
      if (i % STEP === STEP - 1) yield this.#garbage.add(STEP);
    }
    return found;
  }

  /** Which lists are walked, and which are looked at for each one followed. */
  async #ways(actor: Actor, { relation, type }: Known, lists: readonly KnownList[]) {
    const counts = lists.map(({ count }) => count);
    const all = counts.reduce((sum, count) => sum + count, 0);
    if (all <= WALKED_MAX) return { walked: lists, looked: [] };
    const followed = await this.#parts.ledger.actorCount(relation.id, actor, type);
    if (knownPlan(followed, counts).plan === "by actors") return { walked: lists, looked: [] };
    return {
      walked: lists.filter(({ count }) => count <= followed),
      looked: lists.filter(({ count }) => count > followed),
    };
  }
}

/** Registers and the highest stamp known of each. */
class Registers {
  readonly #stamps = new Map<string, { name: RegisterName; stamp: Stamp }>();

  add(name: RegisterName, stamp: Stamp): void {
    const key = keyOf(name);
    const known = this.#stamps.get(key);
    if (!known) this.#stamps.set(key, { name, stamp });
    else if (stamp > known.stamp) known.stamp = stamp;
  }

  of(name: RegisterName): Stamp {
    return this.#stamps.get(keyOf(name))?.stamp ?? 0;
  }

  names(): RegisterName[] {
    return Array.from(this.#stamps.values(), ({ name }) => name);
  }
}

function nameOf({ metric, subject }: CountName): string {
  return `${metric} ${subject}`;
}

/** Ids hold no line ends. */
function keyOf(name: RegisterName): string {
  return `${nameOf(name)}\n${name.actor}`;
}
