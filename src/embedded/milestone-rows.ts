import type { Database } from "bun:sqlite";
import type { Subject } from "../model.ts";
import type { TallyChange } from "../ports/ledger.ts";
import type { MilestoneRule } from "../ports/milestones.ts";
import { type Growth, reached, reachedByTally } from "../webhooks/milestones.ts";
import { COUNT } from "./deltas.ts";

/** Metric ids are 1–255. */
const METRICS = 256;

/**
 * Finds in a batch, before its counts are stored, what they reach with it, and stores that in the same transaction. Costs a
 * look at the count for each one of a metric that has rules, and nothing for others.
 */
export class MilestoneRows {
  readonly #rules: readonly MilestoneRule[][] = Array.from({ length: METRICS }, () => []);
  /** What the batch does to relations' counts. */
  readonly #grown = new Map<number, Map<Subject, Growth>>();
  readonly #sql: ReturnType<typeof prepare>;

  constructor(db: Database, rules: readonly MilestoneRule[]) {
    for (const rule of rules) (this.#rules[rule.metric] as MilestoneRule[]).push(rule);
    this.#sql = prepare(db);
  }

  begin(): void {
    this.#grown.clear();
  }

  /** A register of the batch changes its relation's count. */
  grow(metric: number, subject: Subject, delta: number, isPast: boolean): void {
    if (this.#rules[metric]?.length === 0) return;
    let bySubject = this.#grown.get(metric);
    if (!bySubject) {
      bySubject = new Map();
      this.#grown.set(metric, bySubject);
    }
    const grown = bySubject.get(subject) ?? { live: 0, past: 0 };
    if (isPast) grown.past += delta;
    else grown.live += delta;
    bySubject.set(subject, grown);
  }

  /** Before the counts are stored. */
  store(tallies: readonly TallyChange[], nowMs: number): void {
    for (const [metric, bySubject] of this.#grown) {
      for (const [subject, grown] of bySubject) {
        if (grown.live <= 0) continue;
        const before = this.#count(subject, metric);
        const count = before + grown.live + grown.past;
        this.#tell({ metric, subject, count, nowMs }, (at) => reached(at, before, grown));
      }
    }
    for (const change of tallies) {
      const { metric, subject, added, sets } = change;
      if (this.#rules[metric]?.length === 0) continue;
      const before = this.#count(subject, metric);
      const count = (sets?.at(-1)?.count ?? before) + added;
      this.#tell({ metric, subject, count, nowMs }, (at) => reachedByTally(at, before, change));
    }
  }

  #tell(
    { metric, subject, count, nowMs }: { metric: number; subject: Subject; count: number; nowMs: number },
    reachedOf: (at: readonly number[]) => number[],
  ): void {
    for (const { url, at } of this.#rules[metric] ?? []) {
      for (const threshold of reachedOf(at)) {
        this.#sql.add.run(subject, metric, threshold, url, Math.max(count, threshold), nowMs, nowMs);
      }
    }
  }

  #count(subject: Subject, metric: number): number {
    return this.#sql.count.get(subject, metric)?.count ?? 0;
  }
}

function prepare(db: Database) {
  return {
    count: db.prepare<{ count: number }, [string, number]>(`SELECT ${COUNT} AS count`),
    add: db.prepare<never, [string, number, number, string, number, number, number]>(
      `INSERT INTO milestones (subject, metric, threshold, url, count, at_ms, tries, due_ms) VALUES (?, ?, ?, ?, ?, ?, 0, ?)
       ON CONFLICT DO NOTHING`,
    ),
  };
}
