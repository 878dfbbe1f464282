import {
  advance,
  catchUp,
  coverFilter,
  fresh,
  type Hint,
  install,
  isNever,
  putRelation,
  putTally,
  type Shard,
  shown,
} from "../../src/arithmetic/shard.ts";
import { decide } from "../../src/arithmetic/source.ts";
import { isActive, nextStamp, type Stamp } from "../../src/arithmetic/stamp.ts";
import { random } from "../support/random.ts";

/*
 * Sets and erasures in a cluster, as a model that runs: one shard, its log, ledger, projector and copy, two nodes whose clocks
 * differ, actors who like and unlike, viewers, and an administrator who sets, erases the subject and erases an actor.
 *
 * Interleaved at random at every `yield`. The copy may be lost, the projector may die behind its commit, who administers may die
 * before the answer, late events of before an erasure may come, and at the end the ledger may be an old one that reads the
 * log again, whose versions come a second time for other commits. Checked:
 *   at every step       a base is the ledger's at the copy's version; an overlay entry rests on the ledger's bit
 *   at an answer        what was acknowledged before the call is gone (set, erased), from the copy too
 *   at rest             the ledger is what the log says, record by record; the copy shows the ledger; of an erased actor only
 *                       what came after is there, and the last act that was acknowledged then has won
 */

/** One rule taken away, by name: the model must see each of them missed. */
export const ADMIN_RULES = ["end", "rest", "wait", "lane", "floor", "above", "anew"] as const;
export type AdminRule = (typeof ADMIN_RULES)[number];

type Steps<T = void> = Generator<undefined, T, undefined>;
type Act = { kind: "relation"; actor: string; stamp: Stamp };
type Job = { kind: "set"; count: number } | { kind: "erase" } | { kind: "erase-actor"; actor: string; stamp: Stamp };
type Rec = { source: string; n: number } & (Act | { kind: "tally"; amount: number } | Job);

interface Seen {
  stamp: Stamp;
  floor: Stamp;
  hint: Hint | null;
}

interface Began {
  losses: number;
  erasures: number;
  isErasing: boolean;
}

interface Ledger {
  registers: Map<string, Stamp>;
  views: number;
  last: Map<string, number>;
  floors: Map<string, Stamp>;
  version: number;
  position: number;
}

const ACTORS = ["x", "y", "z"];
const SKEWS = [0, 40, -40];

const empty = (): Ledger => ({
  registers: new Map(),
  views: 0,
  last: new Map(),
  floors: new Map(),
  version: 0,
  position: 0,
});
const copyOf = (ledger: Ledger): Ledger => structuredClone(ledger);
const likesOf = ({ registers }: Ledger) => [...registers.values()].filter(isActive).length;
const isJob = ({ kind }: Rec) => kind !== "relation" && kind !== "tally";

/** What one record does to a ledger, in the log's order. */
function applyTo(ledger: Ledger, record: Rec, hasFloors = true): void {
  if (decide(ledger.last.get(record.source) ?? 0, record.n) !== "apply") return;
  ledger.last.set(record.source, record.n);
  if (record.kind === "tally") ledger.views += record.amount;
  else if (record.kind === "set") ledger.views = record.count;
  else if (record.kind === "relation") {
    const isErased = hasFloors && record.stamp <= (ledger.floors.get(record.actor) ?? 0);
    const before = ledger.registers.get(record.actor) ?? 0;
    if (!isErased && record.stamp > before) ledger.registers.set(record.actor, record.stamp);
  } else if (record.kind === "erase") {
    ledger.registers.clear();
    ledger.views = 0;
  } else {
    ledger.registers.delete(record.actor);
    ledger.floors.set(record.actor, Math.max(record.stamp, ledger.floors.get(record.actor) ?? 0));
  }
}

export function runAdmin({ seed, without }: { seed: number; without?: AdminRule }): string[] {
  const on = (rule: AdminRule) => rule !== without;
  const dice = random(seed);
  const problems: string[] = [];
  const log: Rec[] = [];
  let ledger = empty();
  const past = new Map<number, Ledger>([[0, copyOf(ledger)]]);
  let copy: Shard | null = null;
  let clock = 1_000;
  let losses = 0;
  /** Acknowledged of each actor since he was last erased: the last bit, null where it is not known. */
  const acted = new Map<string, boolean | null>();
  /** Erasures of each actor, and of the subject (""), that were begun and that were answered. */
  const begun = new Map<string, number>();
  const answered = new Map<string, number>();
  const nodes = [0, 1].map((index) => ({
    source: `n${index}`,
    n: 0,
    noted: 0,
    table: 0,
    skew: dice.pick(SKEWS),
    isSending: false,
  }));
  type Node = (typeof nodes)[number];
  const versionOf = (of: Ledger) => ({ version: of.version, position: of.position, last: of.last });

  function* repair(): Steps {
    const snapshot = copyOf(ledger);
    yield;
    if (copy === null) copy = fresh(versionOf(snapshot), log.length, dice.next());
    const registers = new Map([...copy.relations.keys()].map((actor) => [actor, snapshot.registers.get(actor) ?? 0]));
    const sources = [...copy.relations.values(), ...copy.tallies.values()].map(({ source }) => source);
    const last = new Map([...sources.map((source): [string, number] => [source, 0]), ...snapshot.last]);
    catchUp(copy, { ...versionOf(snapshot), last }, registers);
  }

  function* load(): Steps {
    for (const count of ["likes", "views"]) {
      const { version } = ledger;
      const value = count === "likes" ? likesOf(ledger) : ledger.views;
      yield;
      if (copy) install(copy, count, value, version);
    }
  }

  function* look(actor: string): Steps<Seen> {
    for (;;) {
      if (copy === null || copy.version < ledger.version) yield* repair();
      if (copy === null || copy.position < copy.end) {
        yield;
        continue;
      }
      const onTheWay = copy.relations.get(actor);
      const { version } = ledger;
      const floor = on("above") ? (ledger.floors.get(actor) ?? 0) : 0;
      if (!onTheWay && isNever(copy, actor)) return { stamp: 0, floor, hint: null };
      // What is below the floor will be refused: it is not there.
      if (onTheWay) return { stamp: onTheWay.stamp > floor ? onTheWay.stamp : 0, floor, hint: null };
      const stored = ledger.registers.get(actor) ?? 0;
      yield;
      if (copy?.version === version && copy.relations.get(actor) === undefined)
        return { stamp: stored, floor, hint: { stamp: stored, version } };
    }
  }

  function* put(record: Rec & Act, hint: Hint | null): Steps {
    for (;;) {
      const event = { ...record, count: "likes" };
      const answer: string = copy === null ? "behind" : putRelation(copy, record.actor, event, hint);
      if (answer === "ok") return;
      yield* repair();
      hint = { stamp: ledger.registers.get(record.actor) ?? 0, version: ledger.version };
      yield;
    }
  }

  function* user(actor: string): Steps {
    for (let i = 0; i < 5; i++) {
      const node = dice.pick(nodes);
      const active = dice.chance(0.7);
      const began = { losses, erasures: erasuresOf(actor), isErasing: isErasing(actor) };
      const seen = yield* look(actor);
      clock++;
      if (isActive(seen.stamp) === active) {
        note(actor, active, began);
        yield;
        continue;
      }
      while (node.isSending) yield;
      node.isSending = true;
      const stamp = nextStamp(clock + node.skew, Math.max(seen.stamp, seen.floor), active);
      yield;
      const record = { source: node.source, n: ++node.n, kind: "relation" as const, actor, stamp };
      log.push(record);
      node.isSending = false;
      yield;
      yield* put(record, seen.hint);
      note(actor, active, began);
      yield;
    }
  }

  /** While an erasure is under way, or the copy was lost, nobody can say which of both came first. */
  function note(actor: string, active: boolean, began: Began): void {
    const isQuiet = !began.isErasing && !isErasing(actor) && began.erasures === erasuresOf(actor);
    const isSure = isQuiet && began.losses === losses;
    acted.set(actor, isSure ? active : null);
  }
  const of = (times: Map<string, number>, actor: string) => (times.get(actor) ?? 0) + (times.get("") ?? 0);
  const erasuresOf = (actor: string) => of(begun, actor);
  const isErasing = (actor: string) => of(begun, actor) > of(answered, actor);
  const count = (times: Map<string, number>, name: string | null) => {
    if (name !== null) times.set(name, (times.get(name) ?? 0) + 1);
  };

  function flush(node: Node): Rec | null {
    if (node.table === 0) return null;
    const record: Rec = { source: `${node.source}n`, n: ++node.noted, kind: "tally", amount: node.table };
    node.table = 0;
    log.push(record);
    return record;
  }

  function* viewer(node: Node): Steps {
    for (let i = 0; i < 8; i++) {
      node.table++;
      yield;
      if (!dice.chance(0.5)) continue;
      const record = flush(node);
      yield;
      while (record?.kind === "tally") {
        if (copy !== null) {
          putTally(copy, { ...record, count: "views" });
          break;
        }
        yield* repair();
      }
    }
  }

  /** Repeats nobody has asked for, and what an erased actor did before and was told of only now. */
  function* late(): Steps {
    for (let i = 0; i < 4; i++) {
      for (let pause = dice.below(12); pause > 0; pause--) yield;
      const [actor, floor] = dice.pick([...ledger.floors, ["", 0] as [string, number]]);
      if (actor === "") continue;
      const record: Rec = { source: `late${i}`, n: 1, kind: "relation", actor, stamp: floor - 1 };
      log.push(record);
    }
  }

  function* administrator(): Steps {
    for (let i = 0; i < 3; i++) {
      for (let pause = dice.below(10); pause > 0; pause--) yield;
      const node = dice.pick(nodes);
      const actor = dice.pick(ACTORS);
      const kind = dice.pick(["set", "erase", "erase-actor"] as const);
      const name = kind === "erase" ? "" : kind === "erase-actor" ? actor : null;
      const before = new Map(acted);
      count(begun, name);
      // What this node has counted goes first, and through the same lane.
      const own = on("lane") ? flush(node) : null;
      const owed = on("lane") ? 0 : node.table;
      const later = kind === "set" ? dice.below(50) : 0;
      const stamp = nextStamp(++clock + node.skew, 0, false);
      const job: Job =
        kind === "set" ? { kind, count: later } : kind === "erase" ? { kind } : { kind: "erase-actor", actor, stamp };
      const record: Rec = { source: `j${i}`, n: 1, ...job };
      log.push(record);
      if (own?.kind === "tally" && copy !== null) putTally(copy, { ...own, count: "views" });
      if (!on("lane") && owed > 0) flush(node);
      const at = log.length;
      yield;
      if (dice.chance(0.15)) {
        // Dies here: nobody is ever told that it is done.
        for (const each of ACTORS) if (name === "" || name === each) acted.set(each, null);
        continue;
      }
      while ((ledger.last.get(record.source) ?? 0) < 1) yield;
      if (on("wait")) while (copy === null || copy.version < ledger.version) yield* repair();
      for (const each of ACTORS) {
        if (name !== "" && name !== each) continue;
        const isQuiet = before.get(each) === acted.get(each);
        const hasActed = log.slice(at - 1).some((other) => other.kind === "relation" && other.actor === each);
        const there = copy?.relations.get(each)?.stamp ?? past.get(copy?.version ?? -1)?.registers.get(each) ?? 0;
        if (isQuiet && !hasActed && copy !== null && isActive(there))
          problems.push(`${each} is erased and still shows`);
        if (!hasActed && of(begun, each) === of(answered, each) + 1) acted.delete(each);
        else acted.set(each, null);
      }
      if (!on("lane") && owed > 0 && kind !== "erase-actor") problems.push("what this node had counted came behind");
      count(answered, name);
      yield;
    }
  }

  function* projector(): Steps {
    for (;;) {
      if (ledger.position < log.length) {
        const next = copyOf(ledger);
        let to = Math.min(log.length, ledger.position + 1 + dice.below(4));
        const first = log.slice(ledger.position, to).findIndex(isJob);
        if (on("end") && first >= 0) to = ledger.position + first + 1;
        const batch = log.slice(ledger.position, to);
        // Folded: jobs are done to all that the batch has.
        for (const record of [...batch.filter((each) => !isJob(each)), ...batch.filter(isJob)]) {
          applyTo(next, record, on("floor"));
        }
        next.position = to;
        next.version++;
        const touched = batch.filter((each): each is Rec & Act => each.kind === "relation");
        yield;
        ledger = next;
        past.set(ledger.version, copyOf(ledger));
        yield;
        if (dice.chance(0.1)) continue;
        const counts = new Map([
          ["likes", likesOf(ledger)],
          ["views", ledger.views],
        ]);
        const registers = new Map(touched.map(({ actor }) => [actor, ledger.registers.get(actor) ?? 0]));
        // After a job the copy cannot be told all that has changed: it is brought up to the ledger. Its filter can.
        if (on("rest") && batch.some(isJob) && copy?.filter) coverFilter(copy.filter, ledger.version, registers);
        const isTold =
          on("rest") && batch.some(isJob) ? false : copy && advance(copy, { ...versionOf(ledger), counts }, registers);
        if (!isTold) yield* repair();
      } else if (copy !== null && copy.version < ledger.version) yield* repair();
      yield;
    }
  }

  function* chaos(): Steps {
    for (let i = 0; i < 4; i++) {
      for (let pause = 2 + dice.below(20); pause > 0; pause--) yield;
      if (!dice.chance(0.25)) continue;
      losses++;
      copy = null;
    }
  }

  function check(): void {
    if (copy === null) return;
    const was = past.get(copy.version);
    if (!was) {
      problems.push("a copy of a commit that is gone");
      return;
    }
    for (const [actor, entry] of copy.relations) {
      if ((was.registers.get(actor) ?? 0) % 2 !== entry.under % 2) problems.push(`${actor} rests on another bit`);
    }
    for (const actor of was.registers.keys()) {
      if (isNever(copy, actor)) problems.push(`the filter lacks ${actor}`);
    }
    const [likes, views] = [copy.bases.get("likes"), copy.bases.get("views")];
    if (likes !== undefined && likes !== likesOf(was)) problems.push("a base of likes is not its version's");
    if (views !== undefined && views !== was.views) problems.push("a base of views is not its version's");
  }

  const projecting = projector();
  const live: Steps[] = [...nodes.map(viewer), ...ACTORS.map(user), administrator(), reader(), late(), chaos()];
  /** Who only reads keeps bases in the copy. */
  function* reader(): Steps {
    for (let i = 0; i < 15; i++) {
      yield* load();
      yield;
    }
  }
  for (let step = 0; live.length > 0 && problems.length === 0; step++) {
    if (step > 50_000) return [...problems, "it does not come to an end"];
    const one = dice.chance(0.35) ? projecting : dice.pick(live);
    if (one.next().done) live.splice(live.indexOf(one), 1);
    check();
  }
  if (problems.length > 0) return problems;

  for (const node of nodes) flush(node);
  if (dice.chance(0.3)) {
    ledger = copyOf(past.get(dice.below(past.size)) as Ledger);
    for (const version of past.keys()) if (version > ledger.version) past.delete(version);
    // Before anything is applied: soon a copy of a commit that is gone would pass for one of another with its number.
    const kept = copy as Shard | null;
    if (on("anew") && kept !== null && kept.version > ledger.version) copy = null;
  }
  const other = projector();
  for (let i = 0; i < 2_000; i++) other.next();
  const drain = [repair(), load()];
  for (const each of drain) while (!each.next().done);
  check();
  const truth = empty();
  for (const record of log) applyTo(truth, record);
  const say = (of: Ledger) => JSON.stringify([likesOf(of), of.views, [...of.registers].sort(), [...of.floors].sort()]);
  if (say(ledger) !== say(truth)) problems.push(`the ledger has ${say(ledger)}, the log says ${say(truth)}`);
  const copied = copy === null ? [] : [shown(copy, "likes"), shown(copy, "views")];
  if (`${copied}` !== `${[likesOf(ledger), ledger.views]}`)
    problems.push(`the copy shows ${copied}, not ${say(ledger)}`);
  for (const [actor, active] of acted) {
    if (active === null) continue;
    const stamp = ledger.registers.get(actor) ?? 0;
    if (isActive(stamp) !== active) problems.push(`${actor}'s last act has not won`);
  }
  for (const [actor, floor] of ledger.floors) {
    if ((ledger.registers.get(actor) ?? Number.MAX_SAFE_INTEGER) <= floor) problems.push(`${actor} is back`);
  }
  return problems;
}
