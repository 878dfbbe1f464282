import { randomBytes } from "node:crypto";
import type { Stamp } from "../../arithmetic/stamp.ts";
import type { Actor, Subject } from "../../model.ts";
import {
  type Advanced,
  type CountName,
  type HotStore,
  type KeyedAnswer,
  type KeyedPut,
  type Missing,
  NO_END,
  type PastMoves,
  type PastSpan,
  type RegisterName,
  type RelationAnswer,
  type RelationPut,
  type ShardCommit,
  type ShardHead,
  type ShardOverlay,
  type ShardRead,
  type ShardToken,
  type ShardVersion,
  type TallyGroup,
} from "../../ports/hot-store.ts";
import type { SourceState } from "../../ports/ledger.ts";
import { advanceArgs, CallArgs } from "./call-args.ts";
import type { Driver, DriverState, Reply, ScriptCall } from "./driver.ts";
import { countName, Names, parseCount } from "./names.ts";
import {
  actors,
  groupOf,
  HEAD_FIELDS,
  headOf,
  isMissing,
  lastNumbers,
  list,
  numberOrNull,
  overlay,
  pastMoves,
  relationAnswers,
  shardRead,
  shardToken,
} from "./replies.ts";
import { Rollbacks } from "./rollbacks.ts";
import { SCRIPTS, type Script } from "./scripts.ts";

/** Who fills a filter and is not heard of for so long is gone. */
const FILLING_S = 60;

type ActorHint = RegisterName & { stamp: Stamp };

/**
 * The hot store on a Redis, whatever driver speaks to it. One script call for each shard touched, all in one round
 * trip.
 */
export class RedisHotStore implements HotStore {
  readonly #driver: Driver;
  readonly #names: Names;
  readonly #rollbacks = new Rollbacks();

  constructor(driver: Driver, prefix: string) {
    this.#driver = driver;
    this.#names = new Names(prefix);
  }

  /** Whether the store can be asked, for /readyz. */
  get state(): DriverState {
    return this.#driver.state;
  }

  onState(listener: (state: DriverState) => void): void {
    this.#driver.onState(listener);
  }

  checkServer(): Promise<void> {
    return this.#driver.checkServer();
  }

  async read(
    asked: { shard: number; counts: readonly CountName[]; registers: readonly RegisterName[] }[],
  ): Promise<(ShardRead | Missing)[]> {
    const calls = asked.map(({ shard, counts, registers }) => {
      const args = new CallArgs().push(counts.length);
      for (const { metric, subject } of counts) args.count(metric, subject);
      for (const register of registers) args.register(register);
      return this.#call(SCRIPTS.read, shard, args);
    });
    const before = asked.map(({ shard }) => this.#rollbacks.seen(shard));
    const replies = await this.#driver.run(calls);
    return asked.map(({ shard, counts, registers }, i) => {
      const reply = replies[i] as Reply;
      if (isMissing(reply)) return reply;
      const read = shardRead(reply, counts.length, registers.length);
      return this.#rollbacks.isBack(shard, read.head, before[i]) ? "foreign" : read;
    });
  }

  async tokens(shards: readonly number[]): Promise<(ShardToken | Missing)[]> {
    const before = shards.map((shard) => this.#rollbacks.seen(shard));
    const replies = await this.#driver.run(shards.map((shard) => this.#call(SCRIPTS.token, shard, new CallArgs())));
    return shards.map((shard, i) => {
      const reply = replies[i] as Reply;
      if (isMissing(reply)) return reply;
      const token = shardToken(reply);
      return this.#rollbacks.isBack(shard, token.head, before[i]) ? "foreign" : token;
    });
  }

  async pastSince(asked: readonly PastSpan[]): Promise<(PastMoves | null)[]> {
    const calls = asked.map(({ shard, epoch, from, to }) =>
      this.#call(SCRIPTS.pastSince, shard, new CallArgs().push(epoch, from, to)),
    );
    return (await this.#driver.run(calls)).map(pastMoves);
  }

  async install(
    shard: number,
    at: { incarnation: string; version: number },
    counts: readonly [metric: number, subject: Subject, count: number][],
  ): Promise<"ok" | "behind" | Missing> {
    const args = new CallArgs().push(at.incarnation, at.version);
    for (const [metric, subject, count] of counts) args.count(metric, subject).push(count);
    return (await this.#one(SCRIPTS.install, shard, args)) as "ok" | "behind" | Missing;
  }

  async putRelations(
    puts: { shard: number; events: readonly RelationPut[] }[],
  ): Promise<(RelationAnswer[] | Missing)[]> {
    const calls = puts.map(({ shard, events }) => {
      const args = new CallArgs();
      for (const { metric, subject, actor, stamp, source, n, hint, past } of events) {
        args.asks(source).count(metric, subject).push(actor, stamp, source, n);
        args
          .push(hint?.stamp ?? "", hint?.version ?? "")
          .hashes(metric, subject, actor)
          .push(past ? 1 : "");
      }
      return this.#call(SCRIPTS.putRelations, shard, args);
    });
    const replies = await this.#driver.run(calls);
    return replies.map((reply) => (isMissing(reply) ? reply : relationAnswers(reply)));
  }

  async putTallies(puts: { shard: number; group: TallyGroup }[]): Promise<((number | null)[] | Missing)[]> {
    const calls = puts.map(({ shard, group }) => {
      const args = new CallArgs().asks(group.source).push(group.source, group.n, group.past ? 1 : "");
      for (const [metric, subject, amount] of group.amounts) args.count(metric, subject).push(amount);
      return this.#call(SCRIPTS.putTallies, shard, args);
    });
    const replies = await this.#driver.run(calls);
    return puts.map(({ group }, i) => {
      const reply = replies[i] as Reply;
      if (isMissing(reply)) return reply;
      const shown = list(reply);
      return group.amounts.map((_, at) => numberOrNull(shown[at]));
    });
  }

  async putKeyed(shard: number, put: KeyedPut): Promise<KeyedAnswer | Missing> {
    const args = new CallArgs().asks(put.source).push(put.key).count(put.metric, put.subject);
    args.push(put.amount, put.source, put.n, put.atMs, put.version, put.body, put.past ? 1 : "");
    const reply = await this.#one(SCRIPTS.putKeyed, shard, args);
    if (isMissing(reply)) return reply;
    if (reply === "decided" || reply === "behind") return { status: reply };
    const [isNew, body, shown] = list(reply);
    return { status: "ok", isNew: isNew === "1", body: String(body), count: numberOrNull(shown) };
  }

  async findKey(shard: number, key: string): Promise<{ body: string; atMs: number } | null | Missing> {
    const reply = await this.#one(SCRIPTS.findKey, shard, new CallArgs().push(key));
    if (reply === null || isMissing(reply)) return reply;
    const [body, at] = list(reply);
    return { body: String(body), atMs: Number(at) };
  }

  async advance(commits: readonly ShardCommit[]): Promise<Advanced[]> {
    const calls = commits.map((commit) => this.#call(SCRIPTS.advance, commit.shard, advanceArgs(commit)));
    const replies = await this.#driver.run(calls);
    return replies.map((reply) => (reply === "ok" || reply === "unfiltered" ? reply : "behind"));
  }

  async cover(commits: readonly ShardCommit[]): Promise<void> {
    const calls = commits.map(({ shard, incarnation, version, registers }) => {
      const args = new CallArgs().push(incarnation, version);
      for (const [metric, subject, actor, stamp] of registers) if (stamp > 0) args.hashes(metric, subject, actor);
      return this.#call(SCRIPTS.cover, shard, args);
    });
    await this.#driver.run(calls);
  }

  async beginFilling(shards: readonly number[], token: string): Promise<("ok" | "whole" | "busy" | Missing)[]> {
    const args = () => new CallArgs().push(token, FILLING_S);
    const replies = await this.#driver.run(shards.map((shard) => this.#call(SCRIPTS.beginFilling, shard, args())));
    return replies as ("ok" | "whole" | "busy" | Missing)[];
  }

  async fill(parts: { shard: number; registers: readonly RegisterName[] }[], token: string): Promise<boolean[]> {
    const calls = parts.map(({ shard, registers }) => {
      const args = new CallArgs().push(token, FILLING_S);
      for (const { metric, subject, actor } of registers) args.hashes(metric, subject, actor);
      return this.#call(SCRIPTS.fill, shard, args);
    });
    return (await this.#driver.run(calls)).map((reply) => reply === "ok");
  }

  async endFilling(shards: readonly number[], token: string): Promise<boolean[]> {
    const calls = shards.map((shard) => this.#call(SCRIPTS.endFilling, shard, new CallArgs().push(token)));
    return (await this.#driver.run(calls)).map((reply) => reply === "whole");
  }

  async overlayOf(shard: number, most: number): Promise<ShardOverlay | "many" | Missing> {
    const before = this.#rollbacks.seen(shard);
    const reply = await this.#one(SCRIPTS.overlayOf, shard, new CallArgs().push(most));
    if (isMissing(reply) || reply === "many") return reply;
    const found = overlay(reply);
    return this.#rollbacks.isBack(shard, found.head, before) ? "foreign" : found;
  }

  async catchUp(
    version: ShardVersion,
    registers: readonly [metric: number, subject: Subject, actor: Actor, stamp: Stamp][],
    keys: readonly [key: string, isStored: boolean][],
  ): Promise<boolean> {
    const args = new CallArgs().push(version.incarnation, version.version, version.position, generation());
    args.push(version.last.length);
    for (const [source, n] of version.last) args.push(source, n);
    args.push(keys.length);
    for (const [key, isStored] of keys) args.push(key, isStored ? 1 : 0);
    const byCount = Map.groupBy(registers, ([metric, subject]) => countName(metric, subject));
    for (const [count, entries] of byCount) {
      args.push(count, entries.length);
      for (const [, , actor, stamp] of entries) args.push(actor, stamp);
    }
    return (await this.#one(SCRIPTS.catchUp, version.shard, args)) === "ok";
  }

  async renew(version: ShardVersion): Promise<string> {
    // The identity as it is now: with an old one, two nodes would renew in turn for ever.
    await this.#driver.refresh();
    const { shard, incarnation } = version;
    const args = new CallArgs().push(incarnation, version.version, version.position);
    args.push(randomBytes(9).toString("base64url"), this.#rollbacks.epochToEnd(shard), generation());
    for (const [source, n] of version.last) args.push(source, n);
    return String(await this.#one(SCRIPTS.renew, shard, args));
  }

  async dropCopy(shard: number, epoch: string): Promise<void> {
    await this.#one(SCRIPTS.dropCopy, shard, new CallArgs().push(epoch));
  }

  async setEnd(shard: number, epoch: string, end: number, seen?: number): Promise<void> {
    await this.#one(SCRIPTS.setEnd, shard, new CallArgs().push(epoch, end, seen ?? ""));
  }

  async unsettle(shards: readonly number[]): Promise<void> {
    const end = NO_END * (1 + Math.random());
    await this.#driver.run(shards.map((shard) => this.#call(SCRIPTS.unsettle, shard, new CallArgs().push(end))));
  }

  async sources(shards: readonly number[]): Promise<SourceState[][]> {
    const replies = await this.#driver.run(shards.map((shard) => this.#call(SCRIPTS.sources, shard, new CallArgs())));
    return shards.map((shard, i) => {
      const reply = replies[i] as Reply;
      return isMissing(reply) ? [] : lastNumbers(reply).map(([source, last]) => ({ source, shard, last }));
    });
  }

  async notesOnTheWay(shards: readonly number[]): Promise<SourceState[]> {
    const replies = await this.#driver.run(shards.map((shard) => this.#call(SCRIPTS.notes, shard, new CallArgs())));
    return shards.flatMap((shard, i) => {
      const reply = replies[i] as Reply;
      if (isMissing(reply)) return [];
      return list(reply).map((field) => {
        const [source, last] = groupOf(String(field));
        return { source, shard, last };
      });
    });
  }

  async forget(numbers: readonly SourceState[]): Promise<void> {
    const calls = Array.from(
      Map.groupBy(numbers, ({ shard }) => shard),
      ([shard, states]) => {
        const args = new CallArgs();
        for (const { source, last } of states) args.push(source, last);
        return this.#call(SCRIPTS.forget, shard, args);
      },
    );
    await this.#driver.run(calls);
  }

  async actorsOnTheWay(
    shard: number,
    count: CountName,
    most: number,
  ): Promise<[actor: Actor, stamp: Stamp][] | "many" | Missing> {
    const args = new CallArgs().push(countName(count.metric, count.subject), most);
    const reply = await this.#one(SCRIPTS.actors, shard, args);
    return isMissing(reply) || reply === "many" ? reply : actors(reply);
  }

  async countsOnTheWay(shards: readonly number[], most: number): Promise<(CountName[] | "many" | Missing)[]> {
    const args = () => new CallArgs().push(most);
    const replies = await this.#driver.run(shards.map((shard) => this.#call(SCRIPTS.sums, shard, args())));
    return replies.map((reply) => {
      if (isMissing(reply) || reply === "many") return reply;
      return list(reply).map((name) => parseCount(String(name)));
    });
  }

  async hintActors(hints: readonly ActorHint[]): Promise<void> {
    await this.#driver.run(this.#hintCalls(SCRIPTS.hint, hints));
  }

  async unhintActors(hints: readonly ActorHint[]): Promise<void> {
    await this.#driver.run(this.#hintCalls(SCRIPTS.unhint, hints));
  }

  async hintsOf(actor: Actor, metric: number): Promise<Subject[]> {
    const args = new CallArgs().push(`${metric}:${actor}`).list();
    const [reply] = await this.#driver.run([{ script: SCRIPTS.hintsOf, key: this.#names.bucketOf(actor), args }]);
    return list(reply as Reply).map(String);
  }

  async heads(shards: readonly number[]): Promise<(ShardHead | null)[]> {
    const before = shards.map((shard) => this.#rollbacks.seen(shard));
    const replies = await this.#driver.run(shards.map((shard) => this.#call(SCRIPTS.heads, shard, new CallArgs())));
    return shards.map((shard, i) => {
      const reply = replies[i] as Reply;
      if (isMissing(reply)) return null;
      const head = headOf(list(reply).slice(0, HEAD_FIELDS));
      return this.#rollbacks.isBack(shard, head, before[i]) ? null : head;
    });
  }

  close(): Promise<void> {
    return this.#driver.close();
  }

  #call(script: Script, shard: number, args: CallArgs): ScriptCall {
    return { script, key: this.#names.shard(shard), args: args.list() };
  }

  async #one(script: Script, shard: number, args: CallArgs): Promise<Reply> {
    const [reply] = await this.#driver.run([this.#call(script, shard, args)]);
    return reply as Reply;
  }

  #hintCalls(script: Script, hints: readonly ActorHint[]): ScriptCall[] {
    const byBucket = Map.groupBy(hints, ({ actor }) => this.#names.bucketOf(actor));
    return Array.from(byBucket, ([key, inBucket]) => {
      const args = new CallArgs();
      for (const { metric, subject, actor, stamp } of inBucket) args.push(`${metric}:${actor}`, subject, stamp);
      return { script, key, args: args.list() };
    });
  }
}

/** A name that no generation of the shard's bases still to be deleted has. Short: it stands in every bucket's name. */
function generation(): string {
  return randomBytes(3).toString("base64url");
}
