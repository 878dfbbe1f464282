import { randomBytes } from "node:crypto";
import { DAY_MS, dayOf } from "../arithmetic/days.ts";
import { shardOf } from "../arithmetic/shard-of.ts";
import { keyReused, unavailable } from "../errors.ts";
import { Batcher } from "../lib/batcher.ts";
import { LOOKS_AT_ONCE, SALTS_AGREE_MS, SHARED_ACTS_MAX } from "../limits.ts";
import type { Metric, Subject } from "../model.ts";
import type { Claim, ClaimingAct, Visitor, Visitors } from "../ports/visitors.ts";
import { log } from "../telemetry/log.ts";
import { ACTORS } from "../visitors/salts.ts";
import { AGAIN, type NodeVisitors, type Wanted } from "../visitors/visitors.ts";
import { isAway } from "./away.ts";
import type { SharedAnswer, SharedClaim, SharedVisitors } from "./redis/shared-visitors.ts";

const ALONE_EVERY_MS = 10_000;
/** Longer than any window. */
const ACTORS_MS = 366 * DAY_MS;

/**
 * The visitors of all nodes, as one thread asks for them. Who is known to this node is left out at once; everybody else has to
 * be won in Redis too, in one step there. What Redis says this node keeps, with the time that is left: a claim ends everywhere
 * at one moment.
 *
 * Acts that may come again (keyed ones, lines of an upload) always ask Redis: the node may know the visitor by that very act.
 *
 * While Redis is away each node decides alone: a visitor may count once on each. That is a repeat too many at worst, where
 * leaving everybody out would lose all events for as long as it lasts.
 */
export class ClusterVisitors implements Visitors {
  readonly #node: NodeVisitors;
  readonly #shared: SharedVisitors;
  readonly #claims: Batcher<SharedClaim, SharedAnswer>;
  /** Days whose salts are agreed upon. */
  readonly #agreed = new Set<number>();
  #agreedAtMs = 0;
  #agreeing: Promise<void> | null = null;
  #reachMs = 0;
  readonly #run = randomBytes(6).toString("base64url");
  #lastToken = 0;
  #underWay = 0;

  constructor(node: NodeVisitors, shared: SharedVisitors) {
    this.#node = node;
    this.#shared = shared;
    this.#claims = new Batcher((claims) => shared.claim(claims), { itemsMax: LOOKS_AT_ONCE, flightsMax: 4 });
  }

  async claim(metric: Metric, subject: Subject, visitor: Visitor, act: ClaimingAct = {}): Promise<Claim | null> {
    const { once, line } = act;
    const known = once && this.#node.outcome(once);
    if (known !== undefined) return known ? AGAIN : null;
    await this.#salts(metric.unique ?? 0);
    const wanted = this.#node.wanted(metric, subject, visitor, act);
    const here = this.#node.win(wanted);
    const token = once?.key ?? line;
    if (here === null && token === undefined) return null;
    const claim: SharedClaim = {
      shard: shardOf(subject),
      token: token ?? `${this.#run}${(++this.#lastToken).toString(36)}`,
      windowMs: wanted.windowMs,
      names: wanted.names.map(({ text }) => text),
      once,
    };
    return this.#decide(claim, wanted, here);
  }

  async nameToday(stranger: { address: string; agent: string }): Promise<string> {
    await this.#salts(0);
    return this.#node.nameToday(stranger);
  }

  async #decide(claim: SharedClaim, wanted: Wanted, here: Claim | null): Promise<Claim | null> {
    const { once } = claim;
    let answer: SharedAnswer | null;
    try {
      answer = await this.#ask(claim);
    } catch (error) {
      here?.release();
      throw error;
    }
    if (answer?.status === "kept") {
      // Of a body that differs the rest does not matter, and of one that does not the node keeps what Redis knows.
      here?.release();
      if (answer.body !== once?.body) throw keyReused();
      this.#node.noteOutcome(once, answer.counts);
      return answer.counts ? AGAIN : null;
    }
    const isWon = answer === null ? here !== null : answer.status === "won";
    if (answer !== null && (!isWon || here === null || answer.leftMs !== wanted.windowMs)) {
      this.#node.hold(wanted, isWon, answer.leftMs);
    }
    if (once) this.#node.noteOutcome(once, isWon);
    if (!isWon) return null;
    return once ? AGAIN : { release: () => this.#release(claim, here) };
  }

  /** Null where Redis is away. */
  async #ask(claim: SharedClaim): Promise<SharedAnswer | null> {
    if (this.#underWay >= SHARED_ACTS_MAX) throw unavailable("too many acts are under way");
    this.#underWay++;
    try {
      return await this.#claims.submit(claim);
    } catch (error) {
      if (!isAway(error)) throw error;
      tellAlone(error);
      return null;
    } finally {
      this.#underWay--;
    }
  }

  #release(claim: SharedClaim, here: Claim | null): void {
    here?.release();
    this.#shared.release(claim).catch((error) => {
      if (!isAway(error)) throw error;
    });
  }

  /** Sees to it that this node's salts are those of all nodes, as far as that can be known. */
  async #salts(windowMs: number): Promise<void> {
    this.#reachMs = Math.max(this.#reachMs, Math.min(windowMs, DAY_MS));
    // Twice: what is under way may have begun for a shorter window.
    for (let round = 0; round < 2; round++) {
      const nowMs = this.#node.now();
      const today = dayOf(nowMs);
      const isNeeded = (day: number) => nowMs < (day + 1) * DAY_MS + this.#reachMs;
      const isAgreed = this.#agreed.has(today) && (this.#agreed.has(today - 1) || !isNeeded(today - 1));
      if (isAgreed && Math.abs(nowMs - this.#agreedAtMs) < SALTS_AGREE_MS) return;
      // Tomorrow's ahead of time: midnight must not find Redis away.
      const days = [ACTORS, ...[today - 1, today, today + 1].filter(isNeeded)];
      this.#agreeing ??= this.#agree(days, nowMs).finally(() => {
        this.#agreeing = null;
      });
      if (isAgreed) return;
      await this.#agreeing;
    }
  }

  async #agree(days: readonly number[], nowMs: number): Promise<void> {
    const { salts } = this.#node.claims;
    const neededMs = (day: number) => (day === ACTORS ? ACTORS_MS : (day + 1) * DAY_MS + this.#reachMs - nowMs);
    try {
      const offers = days.map((day) => ({ day, salt: salts.of(day), neededMs: neededMs(day) }));
      const agreed = await this.#shared.agree(offers);
      for (const [i, day] of days.entries()) salts.set(day, agreed[i] as string);
      this.#agreed.clear();
      for (const day of days) this.#agreed.add(day);
      this.#agreedAtMs = nowMs;
    } catch (error) {
      if (!isAway(error)) throw error;
      tellAlone(error);
    }
  }
}

function tellAlone(error: unknown): void {
  log.limited("visitors", ALONE_EVERY_MS).warn("Redis is away: this node alone decides who has counted", { error });
}
