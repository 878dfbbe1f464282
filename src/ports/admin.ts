import type { Actor, Metric, Subject } from "../model.ts";
import type { OnceKey } from "./counting.ts";

/** What a job came to: numbers in the order of the metrics asked for. */
export interface Erased {
  /** What was there before and is gone; null where that is not known yet. */
  counts: number[] | null;
  /** False: it is durable, and will show by itself once the ledger can be written again. */
  isShown: boolean;
}

/**
 * What only administrators ask for; one implementation for each deployment.
 *
 * Promises:
 * - input is already checked, as for Counting;
 * - what has resolved is durable, and shows on every thread, lists included, unless it says that it does not yet;
 * - killed at any point it is done whole or not at all, and asked again it changes nothing that was done;
 * - an act answered before the call is part of it; one answered before its answer is, or counts on top: never half;
 * - with `once` a repeat within 10 minutes does nothing: an erasure of nothing, or what shows now;
 * - a Problem `unavailable`: it may or may not be done, and trying again is safe.
 */
export interface Admin {
  /** The tally becomes `count`; null: durable, but what it shows is not known. */
  set(metric: Metric, subject: Subject, count: number, once?: OnceKey): Promise<number | null>;
  /** Counts, registers, lists and history of the subject are gone. */
  eraseSubject(subject: Subject, metrics: readonly Metric[], once?: OnceKey): Promise<Erased>;
  /** The actor's relations are gone, and nothing older brings them back. Of `metrics` (relations). */
  eraseActor(actor: Actor, metrics: readonly Metric[], once?: OnceKey): Promise<Erased>;
  /** `from` is empty, and `to` has what both had; its counts, null where they are not known yet. */
  merge(from: Subject, to: Subject, metrics: readonly Metric[], once?: OnceKey): Promise<number[] | null>;
}
