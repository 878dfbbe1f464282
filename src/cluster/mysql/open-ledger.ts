import { drizzle } from "drizzle-orm/mysql2";
import { StartError } from "../../errors.ts";
import type { Metric, MetricKind } from "../../model.ts";
import { LedgerUnavailable } from "../../ports/ledger.ts";
import { asUnavailable, LedgerConnection, PATIENT } from "./connection.ts";
import { migrate } from "./migrate.ts";
import * as schema from "./schema.ts";

/** Metrics whose stored data is of the other kind, all of them. */
export class KindContradiction extends StartError {
  readonly metrics: { name: string; configured: MetricKind; stored: MetricKind }[];

  constructor(metrics: { name: string; configured: MetricKind; stored: MetricKind }[]) {
    const each = metrics.map((it) => `${it.name} is stored as a ${it.stored}, not as a ${it.configured}`);
    super(`the settings contradict stored data: ${each.join("; ")}`);
    this.name = "KindContradiction";
    this.metrics = metrics;
  }
}

const METRIC_ID_MAX = 255;
const SHARDS = 256;

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

/**
 * The configured metrics with the ledger's numbers, in their order; new ones get the next. By any node, at any time:
 * the row of the incarnation is the lock. Throws KindContradiction where a kind contradicts stored data.
 */
export async function ensureMetrics(
  url: string,
  configured: readonly { name: string; kind: MetricKind }[],
): Promise<Metric[]> {
  return withConnection(url, async (connection) => {
    const orm = drizzle({ client: connection.client });
    return orm.transaction(async (tx) => {
      await tx.select().from(schema.incarnations).for("update");
      const rows = await tx.select().from(schema.metrics);
      const stored = new Map(rows.map((metric) => [metric.name, metric]));
      const wrong = configured.flatMap(({ name, kind }) => {
        const known = stored.get(name);
        return known && known.kind !== kind ? [{ name, configured: kind, stored: known.kind }] : [];
      });
      if (wrong.length > 0) throw new KindContradiction(wrong);
      let id = Math.max(0, ...rows.map((metric) => metric.id));
      const metrics: Metric[] = [];
      for (const { name, kind } of configured) {
        let metric = stored.get(name);
        if (!metric) {
          if (++id > METRIC_ID_MAX) throw new StartError(`the ledger holds at most ${METRIC_ID_MAX} metrics`);
          metric = { id, name, kind };
          await tx.insert(schema.metrics).values(metric);
          stored.set(name, metric);
        }
        metrics.push(metric);
      }
      return metrics;
    });
  });
}

/** `deadlineMs`: for all of it, as drizzle sets none for a query. */
async function withConnection<T>(
  url: string,
  use: (connection: LedgerConnection) => Promise<T>,
  deadlineMs: number | null = PATIENT.queryMs,
): Promise<T> {
  const connection = await LedgerConnection.open(url, PATIENT);
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    if (deadlineMs === null) return;
    timer = setTimeout(() => reject(new LedgerUnavailable("MySQL: no answer in time")), deadlineMs);
  });
  try {
    return await Promise.race([use(connection), late]);
  } catch (error) {
    throw asUnavailable(error);
  } finally {
    clearTimeout(timer);
    connection.close();
  }
}
