import { SHARDS } from "../arithmetic/shard.ts";
import { shardOf } from "../arithmetic/shard-of.ts";
import { isActive, msOf, type Stamp, stampAt } from "../arithmetic/stamp.ts";
import type { Code } from "../distinct/code.ts";
import { isKeyReused, unavailable } from "../errors.ts";
import { Batcher } from "../lib/batcher.ts";
import { Turns } from "../lib/turns.ts";
import { LAG_MS_MAX, LOOK_MS_MAX, LOOKS_AT_ONCE, SHARED_ACTS_MAX } from "../limits.ts";
import type { OnceKey, Related } from "../ports/counting.ts";
import type { CountName, HotStore, Missing, RegisterName, RelationAnswer, RelationPut } from "../ports/hot-store.ts";
import type { Applied } from "./applied.ts";
import { AWAY, isAway, storeAway } from "./away.ts";
import { FloorWatch } from "./floor-watch.ts";
import type { Freshness } from "./freshness.ts";
import type { SharedLedger } from "./ledger.ts";
import type { LogClient } from "./log-client.ts";
import type { Looks } from "./looks.ts";
import type { Act, Logged } from "./messages.ts";
import { type Put, putAll } from "./put-all.ts";
import type { Shards } from "./shards.ts";
import { SharedKeys } from "./shared-keys.ts";

const PAUSE_MS = 5;
/** What is refused sooner was known before. */
const SLOW_MS = 100;
/** A projector that keeps up takes 0.2 to 0.8 s. */
const APPLIED_MS_MAX = 2_000;
const LAGS_MS = 1_000;
/** The projector takes a tenth of a second at least. */
const CLAIM_PAUSE_MS = 40;

/** A register as an act finds it: its newest stamp, and what the ledger has of it where that had to be asked. */
interface Seen {
  stamp: Stamp;
  hint: RelationPut["hint"];
  /** The actor was erased up to here: what happens now is stamped above it. */
  floor: Stamp;
}

/**
 * Acts that must not be lost and must not count twice: relations, and increments with a key.
 *
 *     look (Redis, then the ledger) → log (durable) → put (Redis) → answer
 *
 * An act whose register cannot be seen in time (a store is away, or Redis has lost data and does not have everything again)
 * is logged all the same and answered 202. Acts of one thread on one register take turns, so that the second sees the
 * first; between threads and nodes the stamps decide, and the put says who changed something: it is one atomic step.
 */
export class Acts {
  readonly #hot: HotStore;
  readonly #ledger: SharedLedger;
  readonly #shards: Shards;
  readonly #looks: Looks;
  readonly #keys: SharedKeys;
  readonly #log: LogClient;
  readonly #applied: Applied;
  readonly #freshness: Freshness;
  readonly #floors: FloorWatch;
  readonly #isShown: () => boolean;
  readonly #turns = new Turns();
  /** By shard: until then nobody waits for the ledger to come to the log's end. */
  readonly #lagsUntil = new Float64Array(SHARDS);
  readonly #puts: Batcher<Put, RelationAnswer | Missing>;
  readonly #actorHints: Batcher<RegisterName & { stamp: Stamp }, undefined>;
  readonly #unsettled: Batcher<number, undefined>;
  readonly #hasUnseen: Batcher<undefined, boolean>;
  #underWay = 0;

  constructor(parts: {
    hot: HotStore;
    ledger: SharedLedger;
    shards: Shards;
    looks: Looks;
    log: LogClient;
    applied: Applied;
    freshness: Freshness;
    /** Whether Redis is there, for all that is known. */
    isShown(): boolean;
  }) {
    this.#isShown = parts.isShown;
    this.#freshness = parts.freshness;
    this.#hot = parts.hot;
    this.#ledger = parts.ledger;
    this.#shards = parts.shards;
    this.#looks = parts.looks;
    this.#keys = new SharedKeys(parts);
    this.#floors = new FloorWatch(parts.ledger);
    this.#log = parts.log;
    this.#applied = parts.applied;
    const bounds = { itemsMax: LOOKS_AT_ONCE, flightsMax: 4 };
    this.#puts = new Batcher((puts) => putAll(this.#hot, puts), bounds);
    this.#actorHints = new Batcher(async (names) => {
      await this.#hot.hintActors(names);
      return names.map(() => undefined);
    }, bounds);
    this.#unsettled = new Batcher(async (shards) => {
      await this.#hot.unsettle([...new Set(shards)]);
      return shards.map(() => undefined);
    }, bounds);
    // One question serves all who wait, and leaves connections to those who do something new.
    const hasUnseen = async (asked: undefined[]) => {
      const has = await this.#ledger.hasNotices("unseen");
      return asked.map(() => has);
    };
    this.#hasUnseen = new Batcher(hasUnseen, { itemsMax: SHARED_ACTS_MAX, flightsMax: 1 });
  }

  async relate(name: RegisterName, active: boolean, how: { once?: OnceKey; atMs?: number }): Promise<Related> {
    return this.#inTurn(`${name.metric} ${name.subject}\n${name.actor}`, () => this.#relate(name, active, how));
  }

  async addOnce(
    name: CountName,
    by: number,
    once: OnceKey,
    { atMs = null, visitor = null }: { atMs?: number | null; visitor?: Code | null } = {},
  ): Promise<number | null> {
    return this.#inTurn(once.key, () => this.#addOnce(name, by, once, { atMs, visitor }));
  }

  /** Takes the key, for the first or for any other time; false where Redis cannot tell everybody. */
  async claim(name: CountName, once: OnceKey): Promise<boolean> {
    return this.#inTurn(once.key, async () => {
      const shard = shardOf(name.subject);
      const key = await this.#keys.look(shard, once);
      if (key.isKnown) return true;
      const act = { shard, ...name, actor: "", active: false, by: 0, seen: null, isKept: false };
      const logged = await this.#logOnce({ ...act, once, atMs: null, visitor: null });
      if (logged === null) return true;
      return (await this.#keys.put(shard, { ...name, ...logged, ...once, amount: 0, version: key.version })) !== null;
    });
  }

  /**
   * When the key was first taken. Of several who take it at once the log has one first, and only the ledger knows which; what
   * is on its way may be another one's. Where the ledger does not say in time, or cannot, as Kafka is away, it must do.
   */
  async claimedAt(name: CountName, key: string): Promise<number | null> {
    const shard = shardOf(name.subject);
    const until = performance.now() + ((await this.#log.canShip()) ? LAG_MS_MAX : 0);
    for (;;) {
      const stored = await this.#ledger.keyHint(shard, key).catch(storeAway);
      if (stored === AWAY) break;
      if (stored.known) return stored.known.atMs;
      if (performance.now() > until) break;
      await Bun.sleep(CLAIM_PAUSE_MS);
    }
    const onTheWay = await this.#keys.find(shard, key).catch(storeAway);
    return onTheWay === AWAY ? null : (onTheWay?.atMs ?? null);
  }

  async #inTurn<R>(key: string, act: () => Promise<R>): Promise<R> {
    if (this.#underWay >= SHARED_ACTS_MAX) throw unavailable("too many acts are under way");
    this.#underWay++;
    const done = await this.#turns.take(key);
    try {
      return await act();
    } finally {
      done();
      this.#underWay--;
    }
  }

  async #relate(
    name: RegisterName,
    active: boolean,
    { once, atMs }: { once?: OnceKey; atMs?: number },
  ): Promise<Related> {
    const shard = shardOf(name.subject);
    const key = once && (await this.#keys.look(shard, once));
    const isRepeatedKey = key?.isKnown === true;
    // One of another time is beaten by what is seen already, whatever else there may be.
    const mayRest = (stamp: Stamp) => atMs === undefined && !isRepeatedKey && isActive(stamp) === active;
    const seen = await this.#seeAll(shard, name, mayRest);
    const erased = atMs === undefined ? 0 : await this.#erasedUpTo(shard, name.actor);
    const isSame = (stamp: Stamp) =>
      atMs === undefined ? isActive(stamp) === active : stampAt(atMs, active) <= Math.max(stamp, erased);
    const isRepeat = seen !== null && (isRepeatedKey || (seen.isAll && isSame(seen.stamp)));
    if (isRepeatedKey && seen === null) return { active, changed: null, count: null, at: null };
    if (seen && isRepeat && (isRepeatedKey || !once)) return this.#repeated(shard, name, seen.stamp);

    const above = seen && (isRepeat ? seen.stamp : Math.max(seen.stamp, seen.floor));
    const act = { shard, ...name, active, by: 0, seen: above, isKept: isRepeat };
    const logged = await this.#logOnce({ ...act, once: once ?? null, atMs: atMs ?? null, visitor: null });
    if (logged === null) return this.#relate(name, active, { ...(once && { once }), ...(atMs && { atMs }) });
    // This node's log knows the key, and nobody who was asked: the register stays, or has yet to show what it named.
    const isKnownHere = !isRepeat && logged.stamp === (above ?? 0);
    const at = isKnownHere ? null : msOf(logged.stamp);
    const later = async (): Promise<Related> => {
      await this.leave(shard, logged);
      return { active, changed: null, count: null, at };
    };
    // Left, it would hide the shard from the next one, too, for as long as acts come and Kafka is away.
    const isPut = seen !== null || (this.#freshness.hidden(shard) > 0 && !isKnownHere);
    if (!isPut) return later();
    if (once && key) await this.#keys.put(shard, { ...name, ...logged, ...once, amount: 0, version: key.version });
    if (seen === null) {
      const isShown = await this.show(shard, { ...name, ...logged, hint: null, past: atMs !== undefined });
      return isShown ? { active, changed: null, count: null, at } : later();
    }
    if (isKnownHere && isActive(seen.stamp) !== active) return later();
    if (isRepeat || isKnownHere) return this.#repeated(shard, name, seen.stamp);
    // Both before the answer, in any order: the actor's lists find the act by the hint, the subject's by the entry.
    const [isHinted, put] = await Promise.all([
      this.#actorHints.submit({ ...name, stamp: logged.stamp }).catch(storeAway),
      this.#put(shard, { ...name, ...logged, hint: seen.hint, past: atMs !== undefined }),
    ]);
    if (isHinted === AWAY || put === null) return later();
    // Shown, and if Redis lost it now others could take what they see for all there is.
    if (!logged.isTold) return { active, changed: null, count: null, at };
    // Redis has lost what was seen: what this act has changed cannot be said.
    if (put.seen !== null && put.seen < seen.stamp) return later();
    if (!seen.isAll) return { active, changed: null, count: null, at };
    const hasWon = put.stamp === logged.stamp;
    // `put.seen` may be its own stamp: another node's act of the same tick, which has changed it. Nobody but this thread puts
    // this act now (see LogThread). Null: the projector was faster, and what was seen before must do.
    const changed = hasWon && isActive(put.seen ?? seen.stamp) !== active;
    // Beaten by a newer one, an act of another time has changed nothing; of two acts now both have happened, one by one.
    if (atMs !== undefined && !hasWon)
      return { active: isActive(put.stamp), changed: false, count: put.count, at: msOf(put.stamp) };
    const stamp = isActive(put.stamp) === active ? put.stamp : logged.stamp;
    return { active, changed, count: put.count, at: msOf(stamp) };
  }

  /** Only a repeat must ask for the count: a put answers with it. */
  async #repeated(shard: number, name: CountName, stamp: Stamp): Promise<Related> {
    const count = await this.#count(shard, name).catch(storeAway);
    const at = stamp === 0 ? null : msOf(stamp);
    const isKnown = count !== AWAY;
    return { active: isActive(stamp), changed: isKnown ? false : null, count: isKnown ? count : null, at };
  }

  async #addOnce(
    name: CountName,
    by: number,
    once: OnceKey,
    more: { atMs: number | null; visitor: Code | null },
  ): Promise<number | null> {
    const shard = shardOf(name.subject);
    const key = await this.#keys.look(shard, once);
    if (!key.isKnown) {
      const act = { shard, ...name, actor: "", active: false, by, seen: null, isKept: false, once, ...more };
      const logged = await this.#logOnce(act);
      const timed = { amount: by, past: more.atMs !== null };
      const put = logged && { ...name, ...logged, ...once, ...timed, version: key.version };
      const shown = put && (await this.#keys.put(shard, put));
      if (put && !shown) return null;
      if (typeof shown?.count === "number") return shown.count;
    }
    const looked = await this.#looks.look({ shard, counts: [name], registers: [] }).catch(storeAway);
    return looked === AWAY ? null : (looked.counts[0] as number);
  }

  /**
   * Null where the key has named the act already. Of two bodies that come at once to two nodes each node's log may take another
   * one; which of them the key names is what Redis is told first, by those who are about to.
   */
  async #logOnce(act: Act): Promise<Logged | null> {
    for (const until = performance.now() + LOOK_MS_MAX; ; ) {
      try {
        return await this.#log.append(act);
      } catch (error) {
        if (!isKeyReused(error) || act.once === null) throw error;
        if ((await this.#keys.look(act.shard, act.once)).isKnown) return null;
        if (!this.#isShown() || performance.now() > until) throw error;
      }
      await Bun.sleep(PAUSE_MS);
    }
  }

  /**
   * The act is in the log and in no copy. Whoever acts on the register next must not take what he sees for all there is: a
   * DELETE after a PUT that was left like this would find nothing to do, and the PUT would come into the ledger behind it.
   * Those to whom Redis cannot tell it find it in the ledger (`#seeAll`).
   */
  async leave(shard: number, { isShipped }: Pick<Logged, "isShipped">): Promise<void> {
    if (isShipped && (await this.#unsettled.submit(shard).catch(storeAway)) !== AWAY) return;
    this.#freshness.hide(shard);
    const began = performance.now();
    if ((await this.#log.tellUnseen()) || performance.now() - began < SLOW_MS) return;
    // It was slow, not known to be away: once more, when it may be asked again.
    await Bun.sleep(SLOW_MS);
    await this.#log.tellUnseen();
  }

  /**
   * The register for an act; where it `mayRest`, as there is nothing to do, that is not said before it is known to be all there
   * is: a node that is cut off from Redis may have answered what no copy shows. So it is asked whether any has, and, if none
   * has, the register once more:
   *
   *     that node   tells the ledger   202                       puts it      the ledger is told that it is over
   *     this one                            look: nothing to do                                                asks   looks
   *
   * What is put before the question is seen by the second look. If one has, the ledger is asked once it has all that was
   * acknowledged. Where that cannot be known (`isAll` false) the act is done all the same.
   */
  async #seeAll(
    shard: number,
    name: RegisterName,
    mayRest: (stamp: Stamp) => boolean,
  ): Promise<(Seen & { isAll: boolean }) | null> {
    const began = performance.now();
    const seen = await this.#see(shard, name, began);
    if (seen === null || !mayRest(seen.stamp)) return seen && { ...seen, isAll: true };
    const hasUnseen = await this.#hasUnseen.submit(undefined).catch(storeAway);
    if (hasUnseen === AWAY) return { ...seen, isAll: false };
    const again = hasUnseen ? await this.#seeApplied(shard, name, seen, began) : await this.#see(shard, name, began);
    return again ? { ...again, isAll: true } : { ...seen, isAll: false };
  }

  /** What was seen, or what the ledger has above it once it has all that was acknowledged by now; null: not in time. */
  async #seeApplied(shard: number, name: RegisterName, seen: Seen, began: number): Promise<Seen | null> {
    // Behind a projector that lags not everybody waits in vain.
    if (performance.now() < (this.#lagsUntil[shard] as number)) return null;
    const deadline = Math.min(began + LAG_MS_MAX, performance.now() + APPLIED_MS_MAX);
    if (!(await this.#applied.within(shard, deadline - performance.now()))) {
      this.#lagsUntil[shard] = performance.now() + LAGS_MS;
      return null;
    }
    const hint = await this.#looks.hint(shard, name).catch(storeAway);
    if (hint === AWAY) return null;
    return hint.stamp > Math.max(seen.stamp, seen.floor) ? { ...seen, stamp: hint.stamp, hint } : seen;
  }

  /** Nothing an act of before could bring back; where it cannot be asked the ledger refuses it. */
  async #erasedUpTo(shard: number, actor: string): Promise<Stamp> {
    const floor = await this.#ledger.floorOf(shard, actor).catch(storeAway);
    return floor === AWAY ? 0 : floor;
  }

  /** The register as everyone must see it, or null where that cannot be known in time. */
  async #see(shard: number, name: RegisterName, began: number): Promise<Seen | null> {
    try {
      for (;;) {
        // Before the look: what is told in Redis from then on is seen by it.
        const isHidden = this.#freshness.hidden(shard) > 0;
        const looked = await this.#looks.look({ shard, counts: [], registers: [name] });
        if (looked.isSettled && !isHidden) {
          const stamp = looked.registers[0] ?? null;
          const known = await this.#floors.now(shard, name.actor).catch(storeAway);
          const floor = known === AWAY ? 0 : known;
          // What is below the floor will be refused: it is not there. Of what is not on its way and never was (0) the put finds
          // that out for itself.
          if (stamp !== null) return { stamp: stamp > floor ? stamp : 0, hint: null, floor };
          const hint = await this.#looks.hint(shard, name);
          return { stamp: hint.stamp, hint, floor };
        }
        // The log thread tells soon, unless Kafka is away.
        if (performance.now() - began > (isHidden ? LOOK_MS_MAX : LAG_MS_MAX)) return null;
        if (isHidden && !(await this.#log.canShip())) return null;
        if (!isHidden) await this.#shards.repair(shard);
        await Bun.sleep(PAUSE_MS);
      }
    } catch (error) {
      if (!isAway(error)) throw error;
      return null;
    }
  }

  /** Makes a logged event known where its lists and its subject are asked for; false where that cannot be now. */
  async show(shard: number, event: RelationPut): Promise<boolean> {
    const [isHinted, put] = await Promise.all([
      this.#actorHints.submit(event).catch(storeAway),
      this.#put(shard, event),
    ]);
    return isHinted !== AWAY && put !== null;
  }

  /** Puts a logged event into Redis; null where it cannot be in time: then it will show once the ledger has it. */
  async #put(shard: number, event: RelationPut): Promise<{ seen: Stamp | null; stamp: Stamp; count: number } | null> {
    const deadline = performance.now() + LAG_MS_MAX;
    let isNew = false;
    try {
      while (performance.now() < deadline) {
        const answer = await this.#puts.submit({ shard, event });
        if (answer === "none" || answer === "foreign") {
          await this.#shards.repair(shard);
        } else if (answer.status === "ok" || answer.status === "decided") {
          const count = answer.count ?? (await this.#count(shard, event));
          if (answer.status === "ok") return { seen: answer.seen, stamp: answer.stamp, count };
          return { seen: null, stamp: event.stamp, count };
        } else {
          // More often the hint is the one behind: the log took longer than the next commit. A repair takes a while, and
          // once the ledger has the event nobody can say what it changed.
          if (answer.status === "behind" && isNew) await this.#shards.repair(shard);
          event.hint = await this.#looks.hint(shard, event);
          isNew = true;
        }
      }
    } catch (error) {
      if (!isAway(error)) throw error;
    }
    return null;
  }

  async #count(shard: number, { metric, subject }: CountName): Promise<number> {
    const { counts } = await this.#looks.look({ shard, counts: [{ metric, subject }], registers: [] });
    return counts[0] as number;
  }
}
