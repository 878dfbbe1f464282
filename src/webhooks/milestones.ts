import { createHash } from "node:crypto";
import type { Metric, Subject } from "../model.ts";
import type { TallyChange } from "../ports/ledger.ts";
import type { MilestoneRule } from "../ports/milestones.ts";

/** What a batch adds to a count. */
export interface Growth {
  live: number;
  /** What is of another time: it never reaches anything. */
  past: number;
}

/** The settings of it, one rule for each metric and URL. */
export interface WebhookSetting {
  metric: string;
  at: readonly number[];
  url: string;
}

export function rulesOf(
  webhooks: readonly WebhookSetting[],
  metrics: readonly Pick<Metric, "id" | "name">[],
): MilestoneRule[] {
  const rules = new Map<string, MilestoneRule>();
  for (const { metric: name, url, at } of webhooks) {
    const metric = metrics.find((metric) => metric.name === name)?.id;
    if (metric === undefined) continue;
    const known = rules.get(`${metric} ${url}`)?.at ?? [];
    const all = [...new Set([...known, ...at])].sort((a, b) => a - b);
    rules.set(`${metric} ${url}`, { metric, url, at: all });
  }
  return [...rules.values()];
}

/**
 * Those of `at` that what is live has reached. A batch does not say what came first, so it counts if it may have been so:
 * with all that is of another time before it, or behind it.
 */
export function reached(at: readonly number[], before: number, { live, past }: Growth): number[] {
  const within = (threshold: number, from: number) => from < threshold && threshold <= from + live;
  return at.filter((threshold) => within(threshold, before) || within(threshold, before + past));
}

/**
 * The same for a tally with its sets: they set what is reached from, and reach nothing themselves. What is of another time
 * is taken as part of what was added last.
 */
export function reachedByTally(at: readonly number[], before: number, change: TallyChange): number[] {
  const { sets, added, past = 0 } = change;
  if (sets === null) return reached(at, before, { live: added - past, past });
  const all: number[] = [];
  let from = before;
  for (const set of sets) {
    all.push(...reached(at, from, { live: set.added, past: 0 }));
    from = set.count;
  }
  all.push(...reached(at, from, { live: Math.max(0, added - past), past: Math.min(added, past) }));
  return [...new Set(all)];
}

/** By this name a receiver knows what it was told before: the same however often it is sent, and from whatever backup. */
export function milestoneId(of: { metric: string; subject: Subject; threshold: number; url: string }): string {
  const name = JSON.stringify([of.metric, of.subject, of.threshold, of.url]);
  return `milestone_${createHash("sha256").update(name).digest("base64url").slice(0, 22)}`;
}
