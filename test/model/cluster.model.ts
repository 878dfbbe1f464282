import { isActive, type Stamp } from "../../src/arithmetic/stamp.ts";
import { type Random, random } from "../support/random.ts";
import { chaos, runOut } from "./cluster/chaos.ts";
import { copyProblems, expectedCounts, putProblems, shownInRedis } from "./cluster/checks.ts";
import { Clients } from "./cluster/clients.ts";
import { MIXES, type MixName } from "./cluster/mixes.ts";
import { boot, emptyDisk, flusher, isDurable, keeper, newNode, restart, shipper, shownBy } from "./cluster/node.ts";
import { projector } from "./cluster/projector.ts";
import { forgetter, retirer } from "./cluster/retirer.ts";
import { RULES, type Rules } from "./cluster/rules.ts";
import { putter, refresh, refresher } from "./cluster/shown.ts";
import {
  bump,
  COUNTS,
  type Context,
  type Frame,
  type Kafka,
  type LedgerShard,
  likesOf,
  type Mix,
  type Node,
  type Rec,
  type Redis,
  registerOf,
  SHARDS,
  type Steps,
} from "./cluster/state.ts";
import { emptyLedger, filler, load, settle } from "./cluster/stores.ts";

/*
 * The cluster as a model that runs: two nodes with their outboxes, two shards on one partition of the log, projectors that
 * nothing fences, ledger and Redis; every store can be away, Redis and the log can lose data, nodes are killed or lose their
 * power, requests time out and take effect later. Interleaved at random at every `yield`. Checked:
 *   at every step   Redis: a base is the ledger's at the copy's version, nothing is in base and overlay, sums are right
 *                   what a node shows of a tally: not more than was added, not less than it showed before
 *   at every 200    the act shows; what was answered survives a power cut
 *   while it rests  the projector stands still: Redis shows everything that is in a log or an outbox
 *   at the end      ledger, Redis and nodes equal the truth, each actor's last acknowledged act has won, and of racing acts
 *                   as many were told `changed` as the register changed
 */

export interface Schedule {
  seed: number;
  mix: MixName;
  rules?: Partial<Rules>;
}

const STEPS_MAX = 60_000;
const ROUNDS_MAX = 3_000;

/** Runs one schedule; what was wrong, in the order found. */
export function run(schedule: Schedule): string[] {
  return new World(schedule).run();
}

interface Task {
  node: Node | null;
  life: number;
  steps: Steps;
  pace: number;
}

export class World implements Context {
  readonly random: Random;
  readonly rules: Rules;
  readonly mix: Mix;
  readonly kafka: Kafka = { log: [], ever: new Set(), away: false };
  readonly redis: Redis = { run: 1, copies: [null, null], hints: new Map(), away: false, late: [], isTouched: true };
  readonly ledger = emptyLedger();
  readonly nodes: Node[] = [];
  readonly past: LedgerShard[][];
  readonly added = new Map<string, number>();
  readonly records = new Set<Rec>();
  readonly answered = new Set<Rec>();
  readonly best = new Map<string, Stamp>();
  readonly clients: Clients;
  isResting = false;
  epochs = 0;
  rows = 0;
  losses = 0;
  wall = 100;
  problems: string[] = [];
  private readonly skew: number[];
  /** What every count must be; made again when something has changed. */
  private truth: Map<string, number> | null = null;
  private tasks: Task[] = [];
  /** What was added on each node. */
  private readonly own = new Map<string, number>();
  private readonly least = new Map<string, number>();

  constructor(schedule: Schedule) {
    this.random = random(schedule.seed);
    this.rules = { ...RULES, ...schedule.rules };
    this.mix = MIXES[schedule.mix];
    this.past = this.ledger.shards.map((state) => [state]);
    const skew = this.random.pick([0, 15, -15]);
    this.skew = [0, this.mix.blind ? 0 : skew];
    for (let index = 0; index < 2; index++) {
      const node = newNode(index, emptyDisk());
      this.nodes.push(node);
      this.start(node);
    }
    for (let i = 0; i < this.mix.projectors; i++) {
      this.spawn(null, projector(this, { conn: 0 }));
      this.spawn(null, filler(this, { conn: 0 }));
    }
    if (this.mix.retires) {
      this.spawn(null, retirer(this));
      this.spawn(null, forgetter(this, { conn: 0 }));
    }
    this.clients = new Clients(this);
  }

  problem(text: string): void {
    this.problems.push(text);
  }

  newRecord(rec: Rec): void {
    this.truth = null;
    this.records.add(rec);
    if (rec.kind !== "relation") return;
    this.best.set(registerOf(rec), Math.max(rec.stamp, this.best.get(registerOf(rec)) ?? 0));
  }

  lostRecord(rec: Rec): void {
    if (this.answered.has(rec)) this.problem("an answered act was lost in a power cut");
    this.records.delete(rec);
    this.truth = null;
    if (rec.kind === "tally") for (const [count, amount] of rec.amounts) this.lostViews(count, amount);
    if (rec.kind !== "relation") return;
    const stamps = [...this.records].map((one) =>
      one.kind === "relation" && registerOf(one) === registerOf(rec) ? one.stamp : 0,
    );
    this.best.set(registerOf(rec), Math.max(0, ...stamps));
  }

  lostViews(count: string, amount: number): void {
    bump(this.added, count, -amount);
    this.truth = null;
  }

  addView(node: Node, count: string): void {
    bump(this.added, count, 1);
    bump(this.own, `${node.index} ${count}`, 1);
    if (this.truth) bump(this.truth, count, 1);
  }

  wallTime(node: Node): number {
    return this.wall + (this.skew[node.index] ?? 0);
  }

  shownAnew(node: Node, count: string): void {
    this.least.delete(`${node.index} ${count}`);
  }

  spawn(node: Node | null, steps: Steps): void {
    this.tasks.push({
      node,
      life: node?.life ?? 0,
      steps,
      pace: this.random.pick(this.mix.hasty ? [1, 0.3, 0.05] : [1, 0.5, 0.15]),
    });
  }

  private start(node: Node): void {
    restart(this, node);
    const booting = boot(this, node);
    const { life } = node;
    const self = this;
    this.spawn(
      node,
      (function* () {
        for (let wait = self.mix.retires ? self.random.below(60) : 0; wait > 0 && !self.isResting; wait--) yield;
        yield* booting;
        if (node.life !== life) return;
        for (const make of [shipper, keeper, putter, refresher, flusher]) self.spawn(node, make(self, node));
      })(),
    );
  }

  /** SIGKILL, or the power goes: what was not fsync'd and the counter table with it. */
  kill(node: Node, power: boolean): void {
    const { disk } = node;
    this.redis.late = [];
    if (power) {
      for (const [count, slot] of disk.table) this.lostViews(count, slot.adds - slot.noted);
      disk.table = new Map();
      for (const { frame, synced } of disk.outbox)
        if (!synced && !this.kafka.ever.has(frame)) for (const rec of frame.records) this.lostRecord(rec);
      disk.outbox = disk.outbox.filter((entry) => entry.synced);
      for (const count of COUNTS) {
        this.least.delete(`${node.index} ${count}`);
        this.own.delete(`${node.index} ${count}`);
      }
    }
    this.tasks = this.tasks.filter((task) => task.node !== node);
    this.start(node);
  }

  run(): string[] {
    const { random } = this;
    const pace = () => (this.mix.hasty || this.mix.retires ? random.pick([1, 0.1]) : 1);
    const clients = this.clients.all().map((steps): Task => ({ node: null, life: 0, steps, pace: pace() }));
    clients.push({ node: null, life: 0, steps: chaos(this), pace: 1 });
    for (let step = 0; clients.length > 0; step++) {
      if (step > STEPS_MAX) return [...this.problems, "stuck"];
      const at = random.below(clients.length + this.tasks.length);
      const task = clients[at] ?? this.tasks[at - clients.length];
      if (task === undefined || random.next() > task.pace) continue;
      const isClient = at < clients.length;
      for (let burst = random.chance(0.1) ? 1 + random.below(30) : 1; burst > 0 && this.isAlive(task); burst--) {
        if (task.steps.next().done) {
          if (isClient) clients.splice(at, 1);
          else this.tasks = this.tasks.filter((one) => one !== task);
          burst = 0;
        }
        this.check();
        if (this.problems.length > 0) return this.problems;
      }
      if (random.chance(0.3) || this.mix.blind) this.wall++;
    }
    this.rest();
    return this.problems;
  }

  private isAlive(task: Task): boolean {
    return task.node === null || task.node.life === task.life;
  }

  private check(): void {
    if (this.redis.isTouched) this.problems.push(...copyProblems(this), ...putProblems(this), ...this.clients.unseen());
    this.redis.isTouched = false;
    this.truth ??= expectedCounts(this);
    for (const node of this.nodes)
      for (const count of COUNTS) {
        const value = shownBy(node, count);
        if (value === null) continue;
        const most = this.truth.get(count) ?? 0;
        if (value > most) this.problem(`node ${node.index} shows ${value} of ${most} ${count}`);
        const name = `${node.index} ${count}`;
        const least = this.least.get(name) ?? 0;
        if (value < least && this.losses === 0)
          this.problem(`node ${node.index} shows ${value} ${count} after ${least}`);
        if (value < (this.own.get(name) ?? 0) && this.losses === 0)
          this.problem(`node ${node.index} shows ${value} ${count} and was told ${this.own.get(name)}`);
        if (value > least) this.least.set(name, value);
      }
  }

  // ---- the end

  private rest(): void {
    const { redis, kafka, ledger } = this;
    this.isResting = true;
    redis.away = false;
    for (const node of this.nodes) node.isBlind = false;
    ledger.away = false;
    for (const change of ledger.late.splice(0)) change();
    // Redis shows what is on its way though nothing reaches the ledger. (After a power cut the log may hold what no outbox has.)
    const projectors = this.tasks.filter((task) => task.node === null);
    this.tasks = this.tasks.filter((task) => task.node !== null);
    this.rounds(() => this.isPut());
    if (this.problems.length > 0) return;
    if (!this.mix.power) this.compareRedis("while the projector stands still");
    this.tasks.push(...projectors);
    kafka.away = false;
    for (const node of this.nodes) node.isCut = false;
    this.rounds(() => this.isDone());
    if (this.problems.length > 0) return;
    this.compareAll();
    this.clients.compare();
  }

  private rounds(isEnough: () => boolean): void {
    for (let i = 0; i < ROUNDS_MAX; i++) {
      if (this.problems.length > 0) return;
      for (const task of [...this.tasks])
        if (task.steps.next().done) this.tasks = this.tasks.filter((one) => one !== task);
      if (i % 10 !== 0) continue;
      runOut(this);
      this.check();
      if (isEnough()) return;
    }
    this.problem("stuck at the end");
  }

  /** Everything in the outboxes is durable and in Redis. */
  private isPut(): boolean {
    return this.nodes.every((node) => {
      const { outbox } = node.disk;
      const hasSeen = this.redis.copies.every(
        (copy, shard) =>
          copy?.shard.epoch === node.epochs[shard] && (copy?.run === this.redis.run || !this.rules.identity),
      );
      const isPut = ({ frame }: { frame: Frame }) =>
        frame.records.every((rec) => node.memo.get(frame)?.put.has(rec.shard));
      return node.isListening && hasSeen && outbox.every((entry) => isDurable(node, entry) && isPut(entry));
    });
  }

  /** Everything is in the ledger, and everybody knows. */
  private isDone(): boolean {
    const { ledger, kafka, redis } = this;
    const isClean = ({ disk }: Node) =>
      disk.outbox.length === 0 && [...disk.table.values()].every((slot) => slot.adds === slot.noted);
    return (
      this.isPut() &&
      this.nodes.every(isClean) &&
      ledger.position === kafka.log.length &&
      ledger.spools.size === 0 &&
      ledger.unseen.size === 0 &&
      redis.copies.every((copy, shard) => copy?.shard.version === ledger.shards[shard]?.version)
    );
  }

  private finish(steps: Steps): void {
    while (!steps.next().done);
  }

  private compareRedis(when: string): void {
    const node = this.nodes[0] as Node;
    const expected = expectedCounts(this);
    for (const name of [...COUNTS, likesOf(0), likesOf(1)]) {
      const shard = Number(name[0]);
      const isBehind = () => this.redis.copies[shard]?.shard.version !== this.ledger.shards[shard]?.version;
      for (let i = 0; i < 4 && (i === 0 || isBehind()); i++) this.finish(settle(this, node, shard));
      for (let i = 0; i < 8 && shownInRedis(this, name) === null; i++) this.finish(load(this, node, name, shard));
      let most = expected.get(name) ?? 0;
      for (const { disk } of this.nodes) {
        const slot = disk.table.get(name);
        if (slot) most -= slot.adds - slot.noted;
      }
      for (const one of this.nodes) for (const entry of one.disk.outbox) if (!isDurable(one, entry)) return;
      const shows = shownInRedis(this, name);
      if (shows !== most) this.problem(`${when} Redis has ${shows} ${name}, not ${most}`);
    }
  }

  private compareAll(): void {
    const expected = expectedCounts(this);
    for (const name of [...COUNTS, likesOf(0), likesOf(1)]) {
      const stored = this.ledger.shards[Number(name[0])]?.counts.get(name) ?? 0;
      if (stored !== (expected.get(name) ?? 0))
        this.problem(`at the end the ledger has ${stored} ${name}, not ${expected.get(name) ?? 0}`);
    }
    if (this.problems.length > 0) return;
    this.compareRedis("at the end");
    for (let shard = 0; shard < SHARDS; shard++)
      if ((this.redis.copies[shard]?.shard.position ?? 0) < (this.redis.copies[shard]?.shard.end ?? 0))
        this.problem("a shard never settles");
    for (const node of this.nodes)
      for (const count of COUNTS) {
        for (let i = 0; i < 4; i++) this.finish(refresh(this, node, count));
        const value = shownBy(node, count);
        if (value !== (expected.get(count) ?? 0))
          this.problem(`at the end node ${node.index} shows ${value} ${count}, not ${expected.get(count) ?? 0}`);
      }
    for (const [name, stamp] of this.best)
      if (this.ledger.shards[Number(name[0])]?.registers.get(name) !== stamp && stamp > 0)
        this.problem("a register is not the highest stamp");
  }

  active(register: string): boolean {
    return isActive(this.ledger.shards[Number(register[0])]?.registers.get(register) ?? 0);
  }
}
