import { isActive, type Stamp } from "../../../src/arithmetic/stamp.ts";
import type { World } from "../cluster.model.ts";
import { type Answer, actorList, addOnce, look, relate } from "./acts.ts";
import { ACTORS, COUNTS, type Node, SHARDS, type Steps } from "./state.ts";

/** What is known of a register's acts so far. */
interface Told {
  /** The last acknowledged act, where no order of clocks came in between. */
  expected: boolean | null;
  /** An act got no answer, and none has come behind it. */
  isLost: boolean;
  /** An act of it may not be visible: 202, or no answer. */
  isWeak: boolean;
  /** Likes less unlikes that were told `changed`; null: some act was not told. */
  changes: number | null;
  /** The highest stamp that was answered 200. */
  shown: Stamp;
}

/** One actor, who does two things at once. */
const RACER = "z";

export class Clients {
  private readonly world: World;
  private readonly told = new Map<string, Told>();
  private keys = 0;
  private isLogLost = false;

  constructor(world: World) {
    this.world = world;
    for (let shard = 0; shard < SHARDS; shard++)
      for (const actor of ACTORS)
        this.told.set(`${shard}/${actor}`, { expected: null, isLost: false, isWeak: false, changes: 0, shown: 0 });
  }

  all(): Steps[] {
    const { mix } = this.world;
    const all = [this.adder(), this.adder(), this.keyed(), this.keyed(), this.lister()];
    if (mix.acts !== 0) for (const actor of [...ACTORS, RACER]) all.push(this.user(actor));
    return all;
  }

  /** The log lost what it had acknowledged: with Redis gone too, order is that of clocks. */
  logLost(): void {
    this.isLogLost = true;
    for (const told of this.told.values()) {
      told.isWeak = true;
      told.changes = null;
      told.shown = 0;
    }
  }

  private of(register: string): Told {
    return this.told.get(register) as Told;
  }

  /** A request on a node; `lost` where the node dies under it. */
  private *request<T>(node: Node, make: () => Steps<T>): Steps<T | "lost"> {
    while (!node.isListening) yield;
    const { life } = node;
    const steps = make();
    while (true) {
      const step = steps.next();
      if (step.done) return step.value;
      yield;
      if (node.life !== life) return "lost";
    }
  }

  private *adder(): Steps {
    const { world } = this;
    for (let i = world.mix.tallies ?? 10; i > 0; i--) {
      const node = world.random.pick(world.nodes);
      const count = world.random.pick(COUNTS);
      while (!node.isListening) yield;
      const slot = node.disk.table.get(count);
      if (slot) {
        slot.adds++;
        world.addView(node, count);
      }
      yield;
    }
  }

  private *keyed(): Steps {
    const { world } = this;
    for (let i = world.mix.keys ?? 3; i > 0; i--) {
      // The other client uses the same keys, more or less at the same time.
      const name = world.random.below(4) + 4 * Math.floor(i / 4);
      const key = `k${name}`;
      const count = COUNTS[name % 4] as string;
      const node = world.random.pick(world.nodes);
      yield* this.request(node, () => addOnce(world, node, key, count, 1 + (name % 3)));
      this.keys++;
      yield;
    }
  }

  private *user(actor: string): Steps {
    const { world } = this;
    for (let i = world.mix.acts ?? 6; i > 0; i--) {
      const node = world.random.pick(world.nodes);
      const shard = world.random.below(SHARDS);
      const active = world.random.chance(0.5);
      const register = `${shard}/${actor}`;
      const told = this.of(register);
      while (!node.isListening) yield;
      const isStrict = !told.isWeak || this.visible(register) >= (world.best.get(register) ?? 0);
      const { losses } = world;
      const answer = yield* this.request(node, () => relate(world, node, shard, actor, active));
      this.judge(register, active, answer, isStrict, losses);
      yield;
    }
  }

  private judge(register: string, active: boolean, answer: Answer | "lost", isStrict: boolean, losses: number): void {
    const { world } = this;
    const told = this.of(register);
    if (answer === "lost") {
      Object.assign(told, { expected: null, isLost: true, isWeak: true, changes: null });
      return;
    }
    if (answer.rec) world.answered.add(answer.rec);
    if (answer.changed === null) told.changes = null;
    else if (answer.changed && told.changes !== null) told.changes += active ? 1 : -1;
    // What was answered 202 may be in a spool only: Redis losing data meanwhile makes it invisible again.
    const isSure =
      !(this.isLogLost && world.mix.lose) && isStrict && answer.looked && (!told.isWeak || losses === world.losses);
    if (answer.rec) told.isLost = false;
    told.expected = isSure || (world.mix.blind && !told.isLost) ? active : null;
    if (answer.rec !== null) told.isWeak = answer.status === 202 || !isSure;
    if (answer.status === 202 || answer.rec === null) return;
    told.shown = Math.max(told.shown, answer.rec.stamp);
    if (losses !== world.losses) return;
    if (this.visible(register) < answer.rec.stamp) world.problem("a 200 does not show");
  }

  /** What was answered 200 and a look into a settled copy and then the ledger would miss. */
  unseen(): string[] {
    const { redis, ledger } = this.world;
    const problems: string[] = [];
    if (this.isLogLost) return problems;
    for (const [register, { shown }] of this.told) {
      const shard = Number(register[0]);
      const copy = redis.copies[shard];
      if (!copy || copy.run !== redis.run || copy.shard.position < copy.shard.end) continue;
      const stored = ledger.shards[shard]?.registers.get(register) ?? 0;
      if (Math.max(stored, copy.shard.relations.get(register)?.stamp ?? 0) < shown)
        problems.push("a settled copy lacks an act");
    }
    return problems;
  }

  /** What a look must see. */
  private visible(register: string): Stamp {
    const { world } = this;
    const shard = Number(register[0]);
    const copy = world.redis.copies[shard];
    if (!copy) return world.ledger.shards[shard]?.registers.get(register) ?? 0;
    const base = world.past[shard]?.[copy.shard.version]?.registers.get(register) ?? 0;
    return Math.max(base, copy.shard.relations.get(register)?.stamp ?? 0);
  }

  private *lister(): Steps {
    const { world } = this;
    for (let i = world.mix.acts ?? 8; i > 0; i--) {
      const actor = world.random.pick(ACTORS);
      const node = world.random.pick(world.nodes);
      const { losses } = world;
      const least = new Map([...this.told].map(([register, told]) => [register, told.shown]));
      const list = yield* this.request(node, () => actorList(world, node, actor));
      if (list !== null && list !== "lost" && losses === 0 && world.losses === 0)
        for (const [register, stamp] of list)
          if (stamp < (least.get(register) ?? 0)) world.problem(`a list misses an act of ${register}`);
      const shard = world.random.below(SHARDS);
      const stamp = yield* this.request(node, () => look(world, node, shard, actor));
      if (this.isLogLost && world.mix.lose) continue;
      if (typeof stamp === "number" && losses === world.losses && stamp < (least.get(`${shard}/${actor}`) ?? 0))
        world.problem(`a look misses an act of ${actor}`);
      yield;
    }
  }

  compare(): void {
    const { world } = this;
    for (const [register, { expected, changes }] of this.told) {
      const actual = world.active(register);
      const isRacer = register.endsWith(RACER);
      if (expected !== null && !isRacer && expected !== actual)
        world.problem(`the last act of ${register} has not won`);
      if (changes !== null && changes !== Number(actual))
        world.problem(`${changes} changes told of ${register}, which is ${actual}`);
    }
    for (const stamp of world.best.values()) if (stamp < 0) world.problem(`${isActive(stamp)}`);
  }
}
