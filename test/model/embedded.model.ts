import { isActive, type Stamp } from "../../src/arithmetic/stamp.ts";
import { type Random, random } from "../support/random.ts";
import { actorCount, actorOf, counterOf, list, state } from "./embedded/overlay.ts";
import { RULES, type Rules } from "./embedded/rules.ts";
import { emptyDisk, reap, recover, START_MS, threads } from "./embedded/server.ts";
import {
  type Act,
  ADDERS,
  BY_MAX,
  bump,
  type Change,
  type Context,
  type Disk,
  type Memory,
  mod,
  type Steps,
  type Truth,
} from "./embedded/state.ts";
import { add, count, countOf } from "./embedded/table.ts";

/*
 * The embedded server as a model that runs: counter table, flusher, leaving, log, projector, writer, overlay, lists and
 * keys, their threads interleaved at random at every `yield`. The process is killed at any step, also while it recovers;
 * single workers are killed; frames fail; the wall clock is set back. Checked:
 *   at every step   what a counter would show lies between what was acknowledged and what happened
 *   at every append the counter's slot is loaded, the register looked at was the log's, stamps rise, keys are new
 *   at every answer the read or write shows everything acknowledged before it began, and nothing that is not durable
 *   at rest         ledger, log and truth are equal, after another kill too, and each actor's last acknowledged act won
 */

export interface Schedule {
  seed: number;
  /** The process and its workers are killed. */
  crash: boolean;
  rules?: Partial<Rules>;
  mix?: MixName;
}

const TALLIES = ["v1", "v2", "v3"];
const RELATIONS = ["r1", "r2"];
const ACTORS = ["a", "b", "c"];
/** What a schedule is about: how often each client acts, how fast the rest is at most, how often a worker is killed. */
const MIXES = {
  all: { tallyActs: 14, keyed: 0.15, actorActs: 9, reads: 14, counts: 0.3, slowest: 0.05, kills: 0.001 },
  tallies: { tallyActs: 30, keyed: 0.15, actorActs: 1, reads: 8, counts: 0.3, slowest: 0.05, kills: 0.002 },
  relations: { tallyActs: 3, keyed: 0.15, actorActs: 16, reads: 40, counts: 0.3, slowest: 0.05, kills: 0.001 },
  /** Few acts: most of them claim, load and leave. */
  starts: { tallyActs: 3, keyed: 0.15, actorActs: 1, reads: 4, counts: 0.3, slowest: 0.3, kills: 0.02 },
  /** Counts are read while the writer makes their slots. */
  keys: { tallyActs: 3, keyed: 1, actorActs: 0, reads: 20, counts: 1, slowest: 0.3, kills: 0 },
  /** The ledger is close behind: generations are cleared while they are read. */
  clears: { tallyActs: 0, keyed: 0, actorActs: 20, reads: 60, counts: 0.3, slowest: 1, kills: 0 },
};
export type MixName = keyof typeof MIXES;

const STEPS_MAX = 200_000;

/** Runs one schedule; what was wrong, in the order found. */
export function run(schedule: Schedule): string[] {
  return new World(schedule).run();
}

interface Task {
  name: string;
  steps: Steps;
}

class World implements Context {
  readonly random: Random;
  readonly rules: Rules;
  readonly disk: Disk = emptyDisk();
  readonly truth: Truth = {
    added: new Map(),
    registers: new Map(),
    stamps: new Map(),
    counts: new Map(),
    keys: new Set(),
    acknowledged: 0,
  };
  memory: Memory;
  private readonly problems: string[] = [];
  private readonly crash: boolean;
  private readonly mix: (typeof MIXES)[MixName];
  private readonly pace: Record<string, number> = {};
  private server: Task[] = [];
  private isListening = false;
  private life = 0;
  private killsLeft: number;
  private readonly hot: number;
  private wallMs = START_MS;
  private readonly reaping = new Set<string>();
  /** Amounts answered with a 200, by counter. */
  private readonly answered = new Map<string, number>();
  /** The highest count of a tally that was shown in this life. */
  private shownSoFar = new Map<string, number>();
  /** The highest stamp of a register that was ever shown. */
  private readonly stampSeen = new Map<string, Stamp>();
  private readonly lastAct = new Map<string, boolean>();
  private readonly doubtful = new Set<string>();
  private keys = 0;

  constructor(schedule: Schedule) {
    this.random = random(schedule.seed);
    this.rules = { ...RULES, ...schedule.rules };
    this.crash = schedule.crash;
    this.mix = MIXES[schedule.mix ?? this.random.pick(Object.keys(MIXES) as MixName[])];
    this.hot = this.random.pick([0.4, 0.8, 0.95]);
    this.killsLeft = this.random.below(4);
    for (const name of ["projector", "flusher", "evicter"])
      this.pace[name] = this.random.pick([1, 0.3, 0.05].filter((pace) => pace >= this.mix.slowest));
    this.pace.writer = this.random.pick([1, 0.3].filter((pace) => pace >= this.mix.slowest));
    this.memory = undefined as unknown as Memory;
  }

  nowMs(): number {
    return this.wallMs;
  }

  problem(text: string): void {
    this.problems.push(text);
  }

  run(): string[] {
    const { random } = this;
    this.start();
    const clients: Task[] = [
      ...["w1", "w2", "w3"].slice(0, ADDERS).map((name) => ({ name, steps: this.tallyClient(name) })),
      ...ACTORS.map((name) => ({ name, steps: this.actor(name) })),
      ...["reader1", "reader2"].map((name) => ({ name, steps: this.reader(name) })),
    ];
    for (let step = 0; clients.length > 0; step++) {
      if (step > STEPS_MAX) return [...this.problems, `stuck: ${clients.map((one) => one.name)}`];
      const at = random.below(clients.length + this.server.length);
      const task = clients[at] ?? this.server[at - clients.length];
      if (task === undefined || random.next() > (this.pace[task.name] ?? 1)) continue;
      // Bursts: most races need one thread to do much while another stands between two of its steps.
      const { life } = this;
      for (let burst = random.chance(0.1) ? 1 + random.below(40) : 1; burst > 0 && life === this.life; burst--) {
        if (task.steps.next().done) {
          if (at < clients.length) clients.splice(at, 1);
          else this.server = this.server.filter((one) => one !== task);
          burst = 0;
        }
        this.check();
        if (this.problems.length > 0) return this.problems;
        if (random.chance(0.05)) this.wallMs++;
        if (this.crash && this.killsLeft > 0 && random.chance(0.001)) this.kill();
      }
    }
    this.rest();
    return this.problems;
  }

  private start(): void {
    this.server = [{ name: "boot", steps: this.boot() }];
  }

  private *boot(): Steps {
    yield* recover(this);
    this.server.push(...threads(this));
    this.isListening = true;
  }

  /** SIGKILL: memory is gone, the disk stays as it is. */
  private kill(): void {
    this.killsLeft--;
    this.life++;
    this.isListening = false;
    this.reaping.clear();
    this.shownSoFar = new Map();
    this.wallMs -= this.random.below(300);
    this.start();
  }

  private check(): void {
    if (!this.isListening) return;
    const { memory, truth, disk } = this;
    for (const counter of TALLIES) {
      const slot = memory.index.get(counter);
      if (slot && (slot.state === "dead" || slot.sequence % 2 === 1)) continue;
      const isLoaded = slot?.loaded === "yes";
      if (isLoaded && !this.rules.fold) continue;
      const shows = isLoaded
        ? slot.base + slot.folded + mod(slot.mapped.adds - slot.mark)
        : countOf(this, disk.ledger, counter);
      if (shows < (this.answered.get(counter) ?? 0)) this.problem(`${counter} would show too little`);
      if (shows > (truth.added.get(counter) ?? 0)) this.problem(`${counter} would show too much`);
    }
    for (const counter of RELATIONS) {
      const slot = memory.index.get(counter);
      if (slot?.state === "dead") continue;
      const shows = slot?.loaded === "yes" ? slot.base : countOf(this, disk.ledger, counter);
      if (!this.wasCount(counter, truth.acknowledged, shows)) this.problem(`${counter} would show ${shows}`);
    }
  }

  // ---- what clients do

  /** One request to the server on a worker thread; `lost` where the process or the worker dies under it. */
  private *request<T>(thread: string, make: () => Steps<T>): Steps<T | "lost"> {
    while (!this.isListening || this.reaping.has(thread)) yield;
    const { life } = this;
    const steps = make();
    while (true) {
      const step = steps.next();
      if (step.done) return step.value;
      yield;
      if (this.life !== life) return "lost";
      if (this.crash && this.random.chance(this.mix.kills)) {
        this.reaping.add(thread);
        this.server.push({ name: "reaper", steps: this.reaper(thread) });
        return "lost";
      }
    }
  }

  private *reaper(thread: string): Steps {
    yield* reap(this, thread);
    this.reaping.delete(thread);
  }

  private *tallyClient(thread: string): Steps {
    for (let i = 0; i < this.mix.tallyActs; i++) {
      const counter = this.random.chance(this.hot) ? "v1" : this.random.pick(TALLIES);
      const dice = this.random.next();
      if (dice < this.mix.keyed) yield* this.addOnce(thread, counter);
      else if (dice < 0.85) yield* this.addTo(thread, counter, 1 + this.random.below(BY_MAX));
      else yield* this.readCount(thread, counter);
    }
  }

  private *addTo(thread: string, counter: string, by: number): Steps {
    const least = this.leastShown(counter);
    const { life } = this;
    const outcome = yield* this.request(thread, () => add(this, thread, counter, by));
    if (typeof outcome === "string") return;
    bump(this.answered, counter, by);
    this.sawCount(counter, outcome.count, least + by, life);
  }

  /** Tries with one key until it is answered, and sometimes again. */
  private *addOnce(thread: string, counter: string): Steps {
    const key = `k${this.keys++}`;
    const amount = 1 + this.random.below(3);
    let isAnswered = false;
    for (let attempt = 0; attempt < 6 && !(isAnswered && this.random.chance(0.5)); attempt++) {
      const least = this.leastShown(counter);
      const { life } = this;
      const act = yield* this.act(thread, { kind: "addOnce", counter, amount, key, register: "", active: false });
      if (act === "lost" || act.outcome === null || act.outcome === "unavailable") continue;
      if (!this.truth.keys.has(key)) this.problem("an answered key is not in the log");
      if (!isAnswered) bump(this.answered, counter, amount);
      isAnswered = true;
      this.sawCount(counter, act.outcome.count, least, life);
    }
  }

  private *act(thread: string, what: Omit<Act, "outcome" | "position">): Steps<Act | "lost"> {
    const act: Act = { ...what, outcome: null, position: 0 };
    return yield* this.request(thread, () => this.queued(act));
  }

  private *queued(act: Act): Steps<Act> {
    this.memory.acts.push(act);
    while (act.outcome === null) yield;
    return act;
  }

  private leastShown(counter: string): number {
    return Math.max(this.answered.get(counter) ?? 0, this.shownSoFar.get(counter) ?? 0);
  }

  private sawCount(counter: string, shows: number, least: number, life: number): void {
    if (shows < least) this.problem(`${counter} shows ${shows} after ${least}`);
    if (shows > (this.truth.added.get(counter) ?? 0)) this.problem(`${counter} shows ${shows}, more than happened`);
    if (life === this.life) this.shownSoFar.set(counter, Math.max(shows, this.shownSoFar.get(counter) ?? 0));
  }

  private *readCount(thread: string, counter: string): Steps {
    while (!this.isListening) yield;
    const least = this.leastShown(counter);
    const from = this.truth.acknowledged;
    const { life } = this;
    const shows = yield* this.request(thread, () => count(this, thread, counter));
    if (shows === "lost") return;
    if (!RELATIONS.includes(counter)) {
      if (life === this.life) this.sawCount(counter, shows, least, life);
    } else if (!this.wasCount(counter, from, shows)) this.problem(`${counter} shows ${shows}`);
  }

  /** One actor, one act after the other. */
  private *actor(name: string): Steps {
    for (let i = 0; i < this.mix.actorActs; i++) {
      const register = `${this.random.chance(this.hot) ? "r1" : this.random.pick(RELATIONS)}/${name}`;
      const dice = this.random.next();
      if (dice < 0.6) yield* this.relate(name, register, this.random.chance(0.6), null);
      else if (dice < 0.75) yield* this.relateOnce(name, register);
      else if (dice < 0.9) yield* this.readState(name, register);
      else yield* this.readActor(name, name);
    }
  }

  private *relate(thread: string, register: string, active: boolean, key: string | null): Steps<boolean> {
    const counter = counterOf(register);
    const before = this.truth.acknowledged;
    const act = yield* this.act(thread, { kind: "relate", counter, register, active, key, amount: 0 });
    if (act === "lost" || act.outcome === null || act.outcome === "unavailable") {
      this.doubtful.add(register);
      return false;
    }
    this.truth.acknowledged = Math.max(this.truth.acknowledged, act.position);
    if (key === null) {
      this.lastAct.set(register, active);
      this.doubtful.delete(register);
      if (act.outcome.active !== active) this.problem("an answer tells another state than was set");
    } else if (!this.truth.keys.has(key)) this.problem("an answered key is not in the log");
    if (!this.wasCount(counter, before, act.outcome.count))
      this.problem(`${counter} was answered ${act.outcome.count}`);
    return true;
  }

  /** A keyed like, perhaps taken back, and then a late repeat of it, which must change nothing. */
  private *relateOnce(thread: string, register: string): Steps {
    const key = `k${this.keys++}`;
    if (!(yield* this.relate(thread, register, true, key))) return;
    this.lastAct.set(register, true);
    this.doubtful.delete(register);
    if (this.random.chance(0.6) && !(yield* this.relate(thread, register, false, null))) return;
    yield* this.relate(thread, register, true, key);
    if (this.lastAct.get(register) !== isActive(this.truth.registers.get(register) ?? 0))
      this.problem("a repeated key changed something");
  }

  private *readState(thread: string, register: string): Steps {
    const from = this.truth.acknowledged;
    const least = this.stampSeen.get(register) ?? 0;
    const stamp = yield* this.request(thread, () => state(this, thread, register));
    if (stamp === "lost") return;
    if (stamp < least || !this.stampsSince(register, from).includes(stamp))
      this.problem(`${register} reads ${stamp}, not one of ${this.stampsSince(register, from)}`);
    this.stampSeen.set(register, Math.max(stamp, this.stampSeen.get(register) ?? 0));
  }

  private *readActor(thread: string, actor: string): Steps {
    const from = this.truth.acknowledged;
    const shows = yield* this.request(thread, () => actorCount(this, actor));
    if (shows === "lost") return;
    let [least, most] = [0, 0];
    for (const counter of RELATIONS) {
      const states = this.stampsSince(`${counter}/${actor}`, from).map((stamp) => Number(isActive(stamp)));
      least += Math.min(...states);
      most += Math.max(...states);
    }
    if (shows < least || shows > most) this.problem(`${actor} is active on ${shows}, not ${least} to ${most}`);
  }

  private *reader(thread: string): Steps {
    for (let i = 0; i < this.mix.reads; i++) {
      const dice = this.random.next();
      const counter = this.random.chance(this.hot) ? "r1" : this.random.pick(RELATIONS);
      if (this.random.chance(this.mix.counts))
        yield* this.readCount(thread, this.random.pick([...TALLIES, ...RELATIONS]));
      else if (dice < 0.5) yield* this.readState(thread, `${counter}/${this.random.pick(ACTORS)}`);
      else if (dice < 0.6) yield* this.readActor(thread, this.random.pick(ACTORS));
      else yield* this.readList(thread, counter);
    }
  }

  private *readList(thread: string, counter: string): Steps {
    const limit = 1 + this.random.below(3);
    const known = [...this.truth.registers.values()];
    const before = known.length > 0 && this.random.chance(0.5) ? this.random.pick(known) : Number.MAX_SAFE_INTEGER;
    const from = this.truth.acknowledged;
    const items = yield* this.request(thread, () => list(this, counter, before, limit));
    if (items === "lost") return;
    const end = items.length === limit ? (items.at(-1)?.stamp ?? 0) : 0;
    for (const actor of ACTORS) {
      const register = `${counter}/${actor}`;
      const stamps = this.stampsSince(register, from);
      const found = items.filter((item) => item.register === register);
      if (found.length > 1) this.problem("a list has an actor twice");
      for (const { stamp } of found)
        if (!isActive(stamp) || stamp >= before || !stamps.includes(stamp))
          this.problem(`${register} is listed at ${stamp}, before ${before}, not ${stamps}`);
      const only = stamps.length === 1 ? (stamps[0] ?? 0) : 0;
      if (found.length === 0 && isActive(only) && only < before && only > end)
        this.problem(`${register} is missing from a list`);
    }
    for (const [i, item] of items.entries())
      if (actorOf(item.register) === "" || item.stamp >= (items[i - 1]?.stamp ?? before))
        this.problem("a list is out of order");
  }

  // ---- what was true meanwhile

  private stampsSince(register: string, from: number): Stamp[] {
    return during(this.truth.stamps.get(register) ?? [], from);
  }

  private wasCount(counter: string, from: number, value: number): boolean {
    return wasDuring(this.truth.counts.get(counter) ?? [], from, value);
  }

  // ---- at rest

  private rest(): void {
    if (this.random.chance(0.5)) this.kill();
    this.settle();
    if (this.memory.slots.some((slot) => slot.loaded === "loading")) this.problem("a slot is loaded by nobody");
    this.compare("at rest");
    this.kill();
    this.settle();
    this.compare("after another start");
  }

  /** Until the ledger has everything; nobody asks for anything meanwhile. */
  private settle(): void {
    for (let i = 0; i < STEPS_MAX; i++) {
      if (this.isIdle()) return;
      for (const task of this.server)
        if (task.steps.next().done) this.server = this.server.filter((one) => one !== task);
    }
    this.problem("stuck at the end");
  }

  private isIdle(): boolean {
    if (!this.isListening || this.reaping.size > 0) return false;
    const { dirty, flushing, acts, inside } = this.memory;
    const isWriting = acts.length > 0 || (inside.get("writer") ?? 0) % 2 === 1;
    return !isWriting && dirty.size === 0 && flushing === 0 && this.disk.ledger.position === this.disk.log.length;
  }

  private compare(when: string): void {
    const { ledger } = this.disk;
    for (const [counter, amount] of this.truth.added)
      if (ledger.counts.get(counter) !== amount)
        this.problem(`${when} the ledger has ${ledger.counts.get(counter)} ${counter}, not ${amount}`);
    for (const counter of RELATIONS) {
      const active = [...this.truth.registers].filter(
        ([name, stamp]) => counterOf(name) === counter && isActive(stamp),
      );
      if ((ledger.counts.get(counter) ?? 0) !== active.length)
        this.problem(`${when} the ledger has ${ledger.counts.get(counter)} ${counter}, not ${active.length}`);
    }
    for (const [register, stamp] of this.truth.registers)
      if (ledger.registers.get(register) !== stamp) this.problem(`${when} ${register} is wrong`);
    for (const [register, active] of this.lastAct)
      if (!this.doubtful.has(register) && isActive(ledger.registers.get(register) ?? 0) !== active)
        this.problem("an actor's last act did not win");
  }
}

/** The value at this position and all that came after it. */
function during(changes: readonly Change[], from: number): number[] {
  let at = changes.length;
  while (at > 0 && (changes[at - 1]?.position ?? 0) > from) at--;
  return [changes[at - 1]?.value ?? 0, ...changes.slice(at).map((change) => change.value)];
}

/** Whether `during` holds this value. */
function wasDuring(changes: readonly Change[], from: number, value: number): boolean {
  for (let at = changes.length - 1; at >= 0; at--) {
    const change = changes[at];
    if (change?.value === value) return true;
    if (change && change.position <= from) return false;
  }
  return value === 0;
}
