import type { TallyChange } from "../../ports/ledger.ts";
import type { MilestoneRule } from "../../ports/milestones.ts";
import { reached, reachedByTally, rulesOf, type WebhookSetting } from "../../webhooks/milestones.ts";
import type { LedgerConnection } from "./connection.ts";
import { storedMetrics } from "./metric-names.ts";
import { idSql, rowsSql, wholeSql } from "./sql.ts";

const ROWS = 500;

/** A count before and after a batch. */
export interface Counted {
  subject: string;
  metric: number;
  before: number;
  count: number;
  /** Of a relation: by how much it rises, and how much of that is of another time. */
  delta: number;
  past: number;
  tally: TallyChange | null;
}

/** The webhooks' rules, with metrics as the ledger numbers them. Those it does not know yet are asked for again. */
export class MilestoneRules {
  readonly #webhooks: readonly WebhookSetting[];
  #rules: readonly MilestoneRule[] = [];
  #isKnown: boolean;

  constructor(webhooks: readonly WebhookSetting[]) {
    this.#webhooks = webhooks;
    this.#isKnown = webhooks.length === 0;
  }

  async of(connection: LedgerConnection): Promise<readonly MilestoneRule[]> {
    if (this.#isKnown) return this.#rules;
    const metrics = await storedMetrics(connection);
    this.#rules = rulesOf(this.#webhooks, metrics);
    this.#isKnown = this.#webhooks.every(({ metric }) => metrics.some(({ name }) => name === metric));
    return this.#rules;
  }
}

/** What the counts reach, stored in the transaction that stores them. */
export async function storeMilestones(
  connection: LedgerConnection,
  counts: readonly Counted[],
  rules: readonly MilestoneRule[],
  nowMs: number,
): Promise<void> {
  if (rules.length === 0) return;
  const rows: string[] = [];
  for (const { subject, metric, before, count, delta, past, tally } of counts) {
    for (const { metric: ruled, url, at } of rules) {
      if (ruled !== metric) continue;
      const all = tally ? reachedByTally(at, before, tally) : reached(at, before, { live: delta - past, past });
      for (const threshold of all) {
        const numbers = [threshold, Math.max(count, threshold), nowMs, nowMs].map(wholeSql);
        rows.push(`(${idSql(subject)},${wholeSql(metric)},${idSql(url)},0,${numbers.join()})`);
      }
    }
  }
  for (let from = 0; from < rows.length; from += ROWS) {
    await connection.write(
      `INSERT INTO milestones (subject, metric, url, tries, threshold, count, at_ms, due_ms)
       VALUES ${rowsSql(rows, (row) => row, from, from + ROWS)} ON DUPLICATE KEY UPDATE tries = tries`,
    );
  }
}
