import type { Actor, Metric, Subject } from "../model.ts";
import type { OnceKey } from "./counting.ts";

/** Whose an event is: an actor's, or, where none is known, somebody's at this address with this browser. */
export type Visitor = { readonly actor: Actor } | { readonly address: string; readonly agent: string };

/** The act that claims: the same act may claim twice and is granted what it has. */
export interface ClaimingAct {
  /** An event with an Idempotency-Key: its outcome is remembered, so that a repeat gets the same one. */
  once?: OnceKey;
  /** Names a line of an upload, which its repeat names the same: no other outcome is remembered but the claim. */
  line?: string;
}

/** The visitor's turn on a subject. */
export interface Claim {
  /** The event could not be counted after all: the visitor may try again. */
  release(): void;
}

/**
 * Who has counted lately, for metrics with `unique`.
 *
 * Promises:
 * - of any number of claims for one visitor on one metric and subject, on any threads and nodes, exactly one is granted
 *   in `metric.unique` milliseconds from the one that was; those that are not granted (null) do not prolong it;
 * - that holds over restarts and SIGKILL. While Redis is away, or when it has lost data, it holds on each node for itself;
 *   after a power cut the claims of the last half minute may be forgotten;
 * - a repeat of a keyed act is granted or not as the act was, for as long as keys are known;
 * - what is stored of a visitor is a hash that nobody can undo once the day's salt is forgotten;
 * - a Problem `unavailable`: no room, nothing was claimed.
 */
export interface Visitors {
  claim(metric: Metric, subject: Subject, visitor: Visitor, act?: ClaimingAct): Claim | null | Promise<Claim | null>;
  /**
   * A name for somebody who has none, on this UTC day: a hash with the day's salt, the same on every node. Tomorrow he has
   * another one, and nobody can tell that both are his.
   */
  nameToday(stranger: { readonly address: string; readonly agent: string }): string | Promise<string>;
}
