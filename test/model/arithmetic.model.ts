import { countDelta, merge } from "../../src/arithmetic/register.ts";
import { contribution, fresh, type Hint, type Shard, shown } from "../../src/arithmetic/shard.ts";
import { decide } from "../../src/arithmetic/source.ts";
import { isActive, type Stamp, timeOf } from "../../src/arithmetic/stamp.ts";
import { type Random, random } from "../support/random.ts";
import { RULES, type Rules } from "./rules.ts";

/*
 * The arithmetic of one shard as a model that runs: one partition of the log; two nodes, ledger, projector and hot store.
 *
 * Interleaved at random at every `yield`. The hot store may come back empty or with an older snapshot; nodes and the
 * projector may die; records are delivered twice or refused; the nodes' clocks differ. Checked:
 *   at every step   a base is the ledger's at the shard's version; an overlay entry rests on the ledger's bit at that
 *                   version; no amount is in base and overlay; the sums are the overlay's
 *   at every 200    the write shows, unless the hot store lost data meanwhile
 *   projector idle  the hot store shows everything acknowledged once each node has looked at the epoch
 *   at rest         ledger and hot store equal the truth, and each actor's last acknowledged act has won
 */

export interface Schedule {
  seed: number;
  /** The hot store loses data. */
  lose: boolean;
  /** Nodes and projector die. */
  crash: boolean;
  rules?: Partial<Rules>;
}

type Steps<T = void> = Generator<undefined, T, undefined>;
type LogRecord = { source: string; n: number } & (
  | { kind: "tally"; amount: number }
  | { kind: "relation"; actor: string; stamp: Stamp; refused: boolean }
);

interface Ledger {
  registers: Map<string, Stamp>;
  counts: Map<string, number>;
  last: Map<string, number>;
  version: number;
  position: number;
}

interface Node {
  index: number;
  life: number;
  source: string;
  n: number;
  noted: number;
  /** Views added and not yet noted; survives the node, as the notes do. */
  table: number;
  notes: Extract<LogRecord, { kind: "tally" }>[];
  /** What went into the log and is not yet in the ledger, as far as this life knows. */
  out: LogRecord[];
  epoch: number;
  queueBusy: boolean;
}

const ACTORS = ["x", "y", "z"];
const LIKES = "likes";
const VIEWS = "views";

/** Runs one schedule; what was wrong, in the order found. */
export function run(schedule: Schedule): string[] {
  return new World(schedule).run();
}

class World {
  private readonly problems: string[] = [];
  private readonly random: Random;
  private readonly rules: Rules;
  private readonly lose: boolean;
  private readonly crash: boolean;
  private readonly log: LogRecord[] = [];
  private ledger: Ledger;
  private readonly past: Ledger[] = [];
  private shard: Shard | null = null;
  private epochs = 0;
  private losses = 0;
  private readonly nodes: Node[];
  private readonly skew: number[];
  private clock = 100;
  private views = 0;
  private readonly refusing: boolean;
  /** The highest stamp in the log that will not be refused, by actor. */
  private readonly best = new Map<string, Stamp>();
  /** The last acknowledged act, by actor. */
  private readonly acknowledged = new Map<string, boolean>();
  /** Actors of whose last act it is not known whether it counted. */
  private readonly doubtful = new Set<string>();

  constructor(schedule: Schedule) {
    this.random = random(schedule.seed);
    this.rules = { ...RULES, ...schedule.rules };
    this.lose = schedule.lose;
    this.crash = schedule.crash;
    this.ledger = {
      registers: new Map(),
      counts: new Map([
        [LIKES, 0],
        [VIEWS, 0],
      ]),
      last: new Map(),
      version: 0,
      position: 0,
    };
    this.past.push(copyLedger(this.ledger));
    this.nodes = [0, 1].map((index) => begin(index, 1, 0, []));
    this.skew = [0, this.random.pick([0, 15, -15])];
    this.refusing = this.random.chance(0.5);
  }

  run(): string[] {
    const { random } = this;
    const projector = this.projector();
    const live: Steps[] = [...this.nodes.map((node) => this.viewer(node)), ...ACTORS.map((actor) => this.user(actor))];
    live.push(this.reader(), this.reader(), this.chaos());
    const pace = random.pick([1, 0.3, 0.03]);
    while (live.length > 0) {
      const at = random.below(random.chance(pace) ? live.length + 2 : live.length);
      const one = live[at] ?? projector;
      if (one.next().done) live.splice(at, 1);
      this.check();
    }
    this.quiet();
    const likes = [...this.best.values()].filter(isActive).length;
    const flushed = this.views - this.nodes.reduce((sum, node) => sum + node.table, 0);
    if (!this.crash && !this.refusing) this.compare("projector idle, the hot store", likes, flushed, this.shownNow());
    for (const node of this.nodes) if (node.table > 0) this.log.push(note(node));
    for (let i = 0; i < 200; i++) projector.next();
    this.quiet();
    this.check();
    const stored = (count: string) => this.ledger.counts.get(count) ?? null;
    this.compare("the ledger", likes, this.views, [stored(LIKES), stored(VIEWS)]);
    this.compare("the hot store", likes, this.views, this.shownNow());
    for (const [actor, active] of this.acknowledged)
      if (!this.doubtful.has(actor) && isActive(this.ledger.registers.get(actor) ?? 0) !== active)
        this.problems.push("an actor's last act did not win");
    return this.problems;
  }

  private shownNow(): [number | null, number | null] {
    return this.shard ? [shown(this.shard, LIKES), shown(this.shard, VIEWS)] : [null, null];
  }

  private compare(who: string, likes: number, views: number, has: [number | null, number | null]): void {
    if (has[0] !== likes || has[1] !== views) this.problems.push(`${who} has ${has}, not ${[likes, views]}`);
  }

  /** Everybody looks once more and nothing else happens. */
  private quiet(): void {
    for (let i = 0; i < 3; i++) {
      for (const node of this.nodes) finish(this.heartbeat(node));
      finish(this.load(LIKES));
      finish(this.load(VIEWS));
    }
  }

  private check(): void {
    const { shard, problems } = this;
    if (shard === null) return;
    const was = this.past[shard.version];
    if (was === undefined) throw new Error("a version the ledger never had");
    const sums = new Map<string, number>();
    for (const [actor, entry] of shard.relations) {
      if (isActive(entry.under) !== isActive(was.registers.get(actor) ?? 0))
        problems.push("an overlay entry rests on another bit than its version's");
      sums.set(LIKES, (sums.get(LIKES) ?? 0) + contribution(entry));
    }
    for (const [count, value] of shard.bases)
      if (was.counts.get(count) !== value) problems.push("a base is not its version's");
    for (const entry of shard.tallies.values()) {
      if (entry.n <= (was.last.get(entry.source) ?? 0)) problems.push("an amount is in base and overlay");
      sums.set(VIEWS, (sums.get(VIEWS) ?? 0) + entry.amount);
    }
    for (const count of [LIKES, VIEWS])
      if ((sums.get(count) ?? 0) !== (shard.sums.get(count) ?? 0)) problems.push("a sum is not its overlay's");
  }

  private isBehind(): boolean {
    return this.shard === null || this.shard.version < this.ledger.version;
  }

  /** The shard is missing or behind: one snapshot of the ledger, then the script. */
  private *repair(): Steps {
    const snapshot = copyLedger(this.ledger);
    const registers = new Map<string, Stamp>();
    for (const actor of this.shard?.relations.keys() ?? []) registers.set(actor, snapshot.registers.get(actor) ?? 0);
    const sources = new Map<string, number>();
    for (const { source } of this.shard?.relations.values() ?? []) sources.set(source, 0);
    for (const { source } of this.shard?.tallies.values() ?? []) sources.set(source, 0);
    yield;
    if (this.shard === null) this.shard = fresh(snapshot, this.log.length, ++this.epochs);
    else this.rules.catchUp(this.shard, { ...snapshot, last: new Map([...sources, ...snapshot.last]) }, registers);
  }

  private *load(count: string): Steps {
    for (let i = 0; i < 200; i++) {
      if (this.shard?.bases.has(count)) return;
      const { version } = this.ledger;
      const value = this.ledger.counts.get(count) ?? 0;
      yield;
      if (this.shard) this.rules.install(this.shard, count, value, version);
      yield;
      if (this.isBehind()) yield* this.repair();
    }
  }

  private *putRelation(record: Extract<LogRecord, { kind: "relation" }>): Steps {
    let hint: Hint | null = null;
    const { source, n, stamp, actor } = record;
    for (let i = 0; i < 400; i++) {
      const event = { count: LIKES, stamp, source, n };
      const answer = this.shard ? this.rules.putRelation(this.shard, actor, event, hint) : "behind";
      if (answer === "ok") return;
      if (answer === "behind") yield* this.repair();
      hint = { stamp: this.ledger.registers.get(actor) ?? 0, version: this.ledger.version };
      yield;
    }
    throw new Error("livelock");
  }

  private *putTally(record: Extract<LogRecord, { kind: "tally" }>): Steps {
    while (this.shard === null) yield* this.repair();
    this.rules.putTally(this.shard, { count: VIEWS, source: record.source, n: record.n, amount: record.amount });
  }

  private isSettled(): boolean {
    return this.shard !== null && this.rules.settled(this.shard);
  }

  /** The register as everybody must see it. */
  private *look(actor: string): Steps<Stamp> {
    // The slowest projector takes one step in fifty while everybody waits for it here.
    for (let i = 0; i < 40_000; i++) {
      const { shard } = this;
      if (shard === null || this.isBehind()) {
        yield* this.repair();
        continue;
      }
      if (!this.isSettled()) {
        yield;
        continue;
      }
      const entry = shard.relations.get(actor);
      if (entry) return entry.stamp;
      const stored = this.ledger.registers.get(actor) ?? 0;
      const { version } = this.ledger;
      yield;
      if (this.shard === shard && shard.version === version && this.isSettled())
        return merge(stored, shard.relations.get(actor)?.stamp ?? 0);
    }
    throw new Error("no look");
  }

  /** A new epoch: sends again what the ledger does not have. */
  private *heartbeat(node: Node): Steps {
    node.out = node.out.filter((record) => record.n > (this.ledger.last.get(record.source) ?? 0));
    if (this.isBehind()) yield* this.repair();
    if (!this.rules.replay || this.shard === null || this.shard.epoch === node.epoch) return;
    node.epoch = this.shard.epoch;
    for (const record of [...node.out]) {
      if (record.kind === "tally") yield* this.putTally(record);
      else yield* this.putRelation(record);
      yield;
    }
  }

  /** Views into the table of a node; its flusher notes, logs, shows. */
  private *viewer(first: Node): Steps {
    const { random } = this;
    const node = first;
    for (let i = 0; i < 7; i++) {
      let mustDie = false;
      node.table++;
      this.views++;
      yield;
      if (random.chance(0.6)) {
        const record = note(node);
        node.notes.push(record);
        yield;
        if (this.crash && random.chance(0.1)) mustDie = true;
        else {
          this.log.push(record);
          if (random.chance(0.1)) this.log.push(record);
          node.out.push(record);
          yield;
          yield* this.putTally(record);
        }
      }
      if (!mustDie) yield* this.heartbeat(node);
      if (mustDie || (this.crash && random.chance(0.12))) {
        Object.assign(node, begin(node.index, node.life + 1, node.table, node.notes));
        for (const record of node.notes) {
          if (record.n <= (this.ledger.last.get(record.source) ?? 0)) continue;
          this.log.push(record);
          node.out.push(record);
          yield;
        }
      }
      yield;
    }
  }

  /** One actor, acts one after the other, on any node. */
  private *user(actor: string): Steps {
    for (let i = 0; i < 6; i++) {
      const node = this.random.pick(this.nodes);
      const active = this.random.chance(0.5);
      const { losses } = this;
      const seen = yield* this.look(actor);
      this.clock++;
      if (isActive(seen) === active && this.losses === losses) this.acknowledged.set(actor, active);
      else yield* this.act(node, actor, active, seen, losses);
      yield;
    }
  }

  private *act(node: Node, actor: string, active: boolean, seen: Stamp, losses: number): Steps {
    while (node.queueBusy) yield;
    const stamp = this.rules.nextStamp(this.clock + (this.skew[node.index] ?? 0), seen, active);
    node.queueBusy = this.rules.queue;
    const { life, source } = node;
    const refused = this.refusing && this.random.chance(0.1);
    const record = { source, n: ++node.n, kind: "relation", actor, stamp, refused } as const;
    yield;
    if (node.life !== life) {
      this.doubtful.add(actor);
      return;
    }
    this.log.push(record);
    node.queueBusy = false;
    node.out.push(record);
    if (refused) this.doubtful.add(actor);
    else this.best.set(actor, merge(this.best.get(actor) ?? 0, stamp));
    yield;
    if (node.life !== life || (this.crash && this.random.chance(0.1))) {
      this.doubtful.add(actor);
      return;
    }
    yield* this.putRelation(record);
    this.acknowledged.set(actor, active);
    if (this.losses === losses && !refused && this.visible(actor) < stamp) this.problems.push("a 200 does not show");
  }

  private visible(actor: string): Stamp {
    const { shard } = this;
    if (shard === null) return 0;
    const base = this.past[shard.version]?.registers.get(actor) ?? 0;
    return merge(base, shard.relations.get(actor)?.stamp ?? 0);
  }

  private *reader(): Steps {
    for (let i = 0; i < 12; i++) {
      yield* this.load(this.random.pick([LIKES, VIEWS]));
      yield;
    }
  }

  private *projector(): Steps {
    while (true) {
      if (this.ledger.position < this.log.length) yield* this.project();
      else if (this.shard !== null && this.isBehind()) yield* this.repair();
      yield;
    }
  }

  private *project(): Steps {
    const next = copyLedger(this.ledger);
    const registers = new Map<string, Stamp>();
    next.position = Math.min(this.log.length, next.position + 1 + this.random.below(3));
    for (const record of this.log.slice(this.ledger.position, next.position)) {
      const decision = decide(next.last.get(record.source) ?? 0, record.n);
      if (decision === "gap") this.problems.push("a gap");
      if (decision !== "apply") continue;
      next.last.set(record.source, record.n);
      if (record.kind === "tally") next.counts.set(VIEWS, (next.counts.get(VIEWS) ?? 0) + record.amount);
      else registers.set(record.actor, applyRelation(next, record));
    }
    next.version++;
    yield;
    this.ledger = next;
    this.past.push(copyLedger(next));
    yield;
    const died = this.crash && this.random.chance(0.15);
    if (!died && !(this.shard && this.rules.advance(this.shard, next, registers))) yield* this.repair();
  }

  private *chaos(): Steps {
    const snapshots: Shard[] = [];
    for (let i = 0; i < 8; i++) {
      if (this.shard) snapshots.push(structuredCopy(this.shard));
      for (let wait = 2 + this.random.below(12); wait > 0; wait--) yield;
      if (!this.lose || !this.random.chance(0.3)) continue;
      this.losses++;
      const old = snapshots.length > 0 && this.random.chance(0.5) ? this.random.pick(snapshots) : null;
      // Whoever reconnects sees another run id: a new epoch, not settled.
      this.shard = old && { ...structuredCopy(old), epoch: ++this.epochs, end: this.log.length };
    }
  }
}

function applyRelation(ledger: Ledger, record: Extract<LogRecord, { kind: "relation" }>): Stamp {
  const old = ledger.registers.get(record.actor) ?? 0;
  if (record.refused) return old;
  ledger.counts.set(LIKES, (ledger.counts.get(LIKES) ?? 0) + countDelta(old, record.stamp));
  const stamp = merge(old, record.stamp);
  if (timeOf(stamp) > 0) ledger.registers.set(record.actor, stamp);
  return stamp;
}

/** Another life of a node: the table and the notes stay, memory goes, new sources begin. */
function begin(index: number, life: number, table: number, notes: Node["notes"]): Node {
  return { index, life, source: `${index}.${life}`, n: 0, noted: 0, table, notes, out: [], epoch: 0, queueBusy: false };
}

/** Noted and no longer owed: one step. */
function note(node: Node): Extract<LogRecord, { kind: "tally" }> {
  const record = { source: `${node.source}n`, n: ++node.noted, kind: "tally", amount: node.table } as const;
  node.table = 0;
  return record;
}

function finish(steps: Steps): void {
  while (!steps.next().done);
}

function copyLedger(ledger: Ledger): Ledger {
  return {
    ...ledger,
    registers: new Map(ledger.registers),
    counts: new Map(ledger.counts),
    last: new Map(ledger.last),
  };
}

function structuredCopy(shard: Shard): Shard {
  const relations = new Map([...shard.relations].map(([register, entry]) => [register, { ...entry }]));
  const tallies = new Map([...shard.tallies].map(([name, entry]) => [name, { ...entry }]));
  return {
    ...shard,
    last: new Map(shard.last),
    bases: new Map(shard.bases),
    relations,
    tallies,
    sums: new Map(shard.sums),
  };
}
