import { DAY_MS, dayOf } from "../arithmetic/days.ts";
import { keyReused } from "../errors.ts";
import { fault, wallMs } from "../lib/fault.ts";
import { KEYS_MS } from "../limits.ts";
import type { Metric, Subject } from "../model.ts";
import type { OnceKey } from "../ports/counting.ts";
import type { Claim, ClaimingAct, Visitor, Visitors } from "../ports/visitors.ts";
import { log } from "../telemetry/log.ts";
import type { Reading } from "../telemetry/prometheus.ts";
import { Claims, NOBODYS } from "./claims.ts";
import { actorClaim, type Fingerprint, keyName, ownerOf, strangerClaim, strangerOf } from "./fingerprint.ts";
import { ACTORS } from "./salts.ts";

/** Nothing to give back: a repeat has what the act has. */
export const AGAIN: Claim = { release: () => undefined };
/** Below it a day's salts and claims need not be looked after more often. */
const FORGET_EVERY_MS = 1_000;

/** What a visitor has to win: one name, or two around midnight. */
export interface Wanted {
  names: Fingerprint[];
  owner: number;
  /** For so long the same act gets its claim again: a key is another act's when its time is over. */
  againMs: number;
  nowMs: number;
  windowMs: number;
}

/**
 * The visitors of one node.
 *
 * MIDNIGHT. A stranger's name is made with the day's salt. While the window reaches back to yesterday he has two names and
 * must win both, yesterday's first; whoever loses one leaves the other as it is. Clocks differ, so of two requests at one
 * moment one may still be at yesterday, or already out of the window after midnight:
 *
 *   yesterday's:  A             both:  B wins A's name only if A has not; then today's too
 *   both:         B             today's: C wins today's only if no B has
 *
 * One of A and B has yesterday's name, one of B and C today's: exactly one counts.
 */
export class NodeVisitors implements Visitors {
  readonly claims: Claims;
  readonly now: () => number;
  /** The last stranger: the lines of one upload are all his. */
  #stranger = { salt: "", address: "", agent: "", name: "" };
  #forgetAtMs = 0;

  constructor(claims: Claims, now: () => number = wallMs) {
    this.claims = claims;
    this.now = now;
  }

  claim(metric: Metric, subject: Subject, visitor: Visitor, act: ClaimingAct = {}): Claim | null {
    const { once } = act;
    const known = once && this.outcome(once);
    if (known !== undefined) return known ? AGAIN : null;
    const claim = this.win(this.wanted(metric, subject, visitor, act));
    if (once) this.noteOutcome(once, claim !== null);
    return once && claim ? AGAIN : claim;
  }

  nameToday(stranger: { address: string; agent: string }): string {
    return this.#strangerOn(dayOf(this.now()), stranger);
  }

  wanted(metric: Metric, subject: Subject, visitor: Visitor, { once, line }: ClaimingAct): Wanted {
    const nowMs = this.now();
    const windowMs = metric.unique ?? 0;
    const act = once?.key ?? line;
    const owner = act === undefined ? NOBODYS : ownerOf(act);
    const againMs = once ? KEYS_MS : Number.POSITIVE_INFINITY;
    const how = { owner, againMs, nowMs, windowMs };
    if ("actor" in visitor) {
      return { names: [actorClaim(this.claims.salts.of(ACTORS), metric, subject, visitor.actor)], ...how };
    }
    const today = dayOf(nowMs);
    const days = nowMs - today * DAY_MS < windowMs ? [today - 1, today] : [today];
    const names = days.map((day) => strangerClaim(this.#strangerOn(day, visitor), metric, subject));
    return { names, ...how };
  }

  /** All names, or null. A claim that was won can be given back; one that the same act has won before cannot. */
  win({ names, nowMs, windowMs, againMs, owner }: Wanted): Claim | null {
    const won: Fingerprint[] = [];
    const release = () => {
      for (const name of won) this.claims.release(name, { nowMs: this.now(), untilMs: nowMs + windowMs });
    };
    try {
      for (const name of names) {
        const result = this.claims.claim(name, { nowMs, windowMs, againMs, owner });
        if (result === "taken") return null;
        if (result === "new") won.push(name);
      }
    } catch (error) {
      release();
      throw error;
    }
    fault("visitors.claimed");
    return won.length === names.length ? { release } : AGAIN;
  }

  /** What all nodes agree upon: that these names are claimed for so long yet, by this act or by another one. */
  hold({ names, owner }: Wanted, isOwn: boolean, leftMs: number): void {
    const nowMs = this.now();
    const untilMs = nowMs + leftMs;
    for (const name of names) this.claims.set(name, { nowMs, untilMs, owner: isOwn ? owner : NOBODYS });
  }

  /** What became of an event with this key: whether it counts; undefined for one that is not known. */
  outcome({ key, body }: OnceKey): boolean | undefined {
    const word = this.claims.ownerOf(keyName(key), this.now());
    if (word === null) return undefined;
    if (((word ^ bodyWord(body)) & ~1) !== 0) throw keyReused();
    return (word & 1) === 1;
  }

  /**
   * Before the event is counted: "counts" means that it may, and whoever repeats it may too, since the key itself is counted
   * once.
   */
  noteOutcome({ key, body }: OnceKey, counts: boolean): void {
    const nowMs = this.now();
    const owner = (bodyWord(body) & ~1) | (counts ? 1 : 0);
    this.claims.set(keyName(key), { nowMs, untilMs: nowMs + KEYS_MS, owner });
  }

  /** Main, now and then: salts that no window reaches any more are forgotten. */
  tend(metrics: readonly Metric[]): void {
    const nowMs = this.now();
    if (nowMs < this.#forgetAtMs && nowMs > this.#forgetAtMs - 2 * FORGET_EVERY_MS) return;
    this.#forgetAtMs = nowMs + FORGET_EVERY_MS;
    this.claims.salts.forgetBefore(dayOf(nowMs - saltReachMs(metrics)));
  }

  readings(): Reading[] {
    const { bytes, bytesMax } = this.claims;
    return [
      { name: "tally_visitors_bytes", help: "Memory for visitors that unique metrics remember", value: bytes },
      { name: "tally_visitors_bytes_max", help: "Memory that visitors may take", value: bytesMax },
    ];
  }

  #strangerOn(day: number, { address, agent }: { address: string; agent: string }): string {
    const salt = this.claims.salts.of(day);
    const last = this.#stranger;
    if (last.salt !== salt || last.address !== address || last.agent !== agent) {
      this.#stranger = { salt, address, agent, name: strangerOf(salt, { address, agent }) };
    }
    return this.#stranger.name;
  }
}

/** Main's: what an earlier run left still holds. */
export function openVisitors(path: string): NodeVisitors {
  const complain = (problem: string) => {
    log.warn("the visitors' file cannot be used: visitors may be counted once more", { path, problem });
  };
  return new NodeVisitors(Claims.open(path, { nowMs: wallMs(), complain }));
}

/** For how long after its day a salt is needed: the longest window, and a day at most. */
function saltReachMs(metrics: readonly Metric[]): number {
  return Math.min(DAY_MS, Math.max(0, ...metrics.map(({ unique = 0 }) => unique)));
}

/** The half of a body's hash that fits an entry. */
function bodyWord(body: string): number {
  return Number.parseInt(body.slice(0, 8), 16) | 0;
}
