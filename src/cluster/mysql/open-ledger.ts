import { drizzle } from "drizzle-orm/mysql2";
import { SHARDS } from "../../arithmetic/shard.ts";
import { inTime } from "../../lib/deadline.ts";
import type { Metric, MetricSetting } from "../../model.ts";
import { LedgerUnavailable } from "../../ports/ledger.ts";
import { numberMetrics, type StoredMetric } from "../../ports/metric-numbers.ts";
import { asUnavailable, LedgerConnection, PATIENT } from "./connection.ts";
import { migrate } from "./migrate.ts";
import * as schema from "./schema.ts";

/** At the start, by every node: creates or migrates the ledger. Throws LedgerUnavailable where MySQL is away. */
export async function prepareLedger(url: string, mayMigrate = true): Promise<void> {
  // Statements of a migration have their own deadlines.
  await withConnection(url, (connection) => migrate(connection, mayMigrate), null);
  await withConnection(url, async (connection) => {
    const orm = drizzle({ client: connection.client });
    // Whoever is second finds the first one's.
    await orm.insert(schema.incarnations).ignore().values({ id: 1, name: crypto.randomUUID() });
    const rows = Array.from({ length: SHARDS }, (_, shard) => ({ shard, version: 0, stampMax: 0 }));
    await orm.insert(schema.shards).ignore().values(rows);
  });
}

/** For who only looks. Throws StartError where the schema is not this program's, as `prepareLedger` that may not migrate. */
export async function checkSchema(url: string): Promise<void> {
  await withConnection(url, (connection) => migrate(connection, false));
}

/** How a ledger numbers metrics. */
export interface Numbered {
  /** The ledger that gave the numbers. */
  incarnation: string;
  /** All that it has ever numbered. */
  stored: StoredMetric[];
  /** The configured ones, in their order. */
  metrics: Metric[];
}

/**
 * The configured metrics with the ledger's numbers; new ones get the next, and no number is ever changed or given again. By
 * any node, at any time: the row of the incarnation is the lock. Throws KindContradiction where a kind contradicts stored data.
 */
export async function ensureNumbers(url: string, configured: readonly MetricSetting[]): Promise<Numbered> {
  return withConnection(url, async (connection) => {
    const orm = drizzle({ client: connection.client });
    return orm.transaction(async (tx) => {
      const [row] = await tx.select().from(schema.incarnations).for("update");
      if (!row) throw new Error("the ledger has no incarnation");
      const before = await tx.select().from(schema.metrics);
      const { metrics, added } = numberMetrics(configured, before);
      if (added.length > 0) await tx.insert(schema.metrics).values(added);
      return { incarnation: row.name, stored: [...before, ...added], metrics };
    });
  });
}

/** The configured metrics alone. */
export async function ensureMetrics(url: string, configured: readonly MetricSetting[]): Promise<Metric[]> {
  return (await ensureNumbers(url, configured)).metrics;
}

/** `deadlineMs`: for all of it, as drizzle sets none for a query. */
export async function withConnection<T>(
  url: string,
  use: (connection: LedgerConnection) => Promise<T>,
  deadlineMs: number | null = PATIENT.queryMs,
): Promise<T> {
  const connection = await LedgerConnection.open(url, PATIENT);
  try {
    const work = use(connection);
    if (deadlineMs === null) return await work;
    return await inTime(work, deadlineMs, () => new LedgerUnavailable("MySQL: no answer in time"));
  } catch (error) {
    throw asUnavailable(error);
  } finally {
    connection.close();
  }
}
