import { Database } from "bun:sqlite";
import { statSync } from "node:fs";
import { drizzle } from "drizzle-orm/bun-sqlite";
import { StartError } from "../errors.ts";
import type { Metric, MetricKind } from "../model.ts";
import { createFilterShare, type FilterShare, Filters } from "./filters.ts";
import { keptSeed } from "./kept-filters.ts";
import { openWriting } from "./ledger.ts";
import { migrate, SchemaError } from "./migrate.ts";
import * as schema from "./schema.ts";
import { loadSegments } from "./segments.ts";

/** A metric as the settings name it. */
export interface ConfiguredMetric {
  name: string;
  kind: MetricKind;
}

/** Metrics whose stored data is of the other kind, all of them. */
export class KindContradiction extends Error {
  readonly metrics: { name: string; configured: MetricKind; stored: MetricKind }[];

  constructor(metrics: { name: string; configured: MetricKind; stored: MetricKind }[]) {
    const each = metrics.map((it) => `${it.name} is stored as a ${it.stored}, not as a ${it.configured}`);
    super(`the settings contradict stored data: ${each.join("; ")}`);
    this.name = "KindContradiction";
    this.metrics = metrics;
  }
}

const METRIC_ID_MAX = 255;
/**
 * Filters take about 4 bytes a register and 3 a count, a 30th of the ledger's own size. A start gives them room for the
 * ledger to grow by 130 million rows; then, until the next start, they say "maybe", and a like asks a hundred trees. It is
 * address space: pages that were never written cost nothing (64 MiB were once full in the middle of 20 million likes).
 */
const FILTER_BYTES_MIN = 512 * 1024 * 1024;
const FILTER_BYTES_MAX = 2048 * 1024 * 1024;

/** At the start, on main, before any other thread opens it: creates or migrates the ledger. */
export function prepareLedger(path: string, mayMigrate = true): void {
  const db = openWriting(path);
  try {
    migrate(db, mayMigrate);
    const orm = drizzle({ client: db, schema });
    orm.insert(schema.position).values({ id: 1, at: 0, incarnation: crypto.randomUUID() }).onConflictDoNothing().run();
  } finally {
    db.close(true);
  }
}

/** The configured metrics with their numbers, in their order; new ones get the next. Also for a running ledger (SIGHUP). */
export function ensureMetrics(path: string, configured: readonly ConfiguredMetric[]): Metric[] {
  const db = openWriting(path);
  // On disk before it returns: the log, which is synced for itself, will hold these numbers.
  db.run("PRAGMA synchronous = FULL");
  try {
    const orm = drizzle({ client: db, schema });
    return orm.transaction(
      (tx) => {
        const stored = new Map(
          tx
            .select()
            .from(schema.metrics)
            .all()
            .map((metric) => [metric.name, metric]),
        );
        const wrong = configured.flatMap(({ name, kind }) => {
          const known = stored.get(name);
          return known && known.kind !== kind ? [{ name, configured: kind, stored: known.kind }] : [];
        });
        if (wrong.length > 0) throw new KindContradiction(wrong);
        let id = Math.max(0, ...[...stored.values()].map((metric) => metric.id));
        return configured.map(({ name, kind }) => {
          const known = stored.get(name);
          if (known) return known;
          if (++id > METRIC_ID_MAX) throw new SchemaError(`the ledger holds at most ${METRIC_ID_MAX} metrics`);
          const metric = { id, name, kind };
          tx.insert(schema.metrics).values(metric).run();
          stored.set(name, metric);
          return metric;
        });
      },
      { behavior: "immediate" },
    );
  } finally {
    db.close(true);
  }
}

/** What all threads of one process share about the ledger; made on main, given to each. */
export function shareLedger(path: string, seed?: number): FilterShare {
  const db = new Database(path, { readonly: true });
  try {
    const bytes = Math.min(FILTER_BYTES_MIN + statSync(path).size / 16, FILTER_BYTES_MAX);
    const share = createFilterShare(bytes, seed ?? keptSeed(db));
    loadSegments(db, new Filters(share));
    return share;
  } finally {
    db.close(true);
  }
}

/** The configured metrics with the ledger's numbers. Throws StartError where a kind contradicts stored data. */
export function numbered(ledger: string, configured: readonly ConfiguredMetric[]): Metric[] {
  try {
    return ensureMetrics(ledger, configured);
  } catch (error) {
    if (error instanceof KindContradiction) throw new StartError(error.message);
    throw error;
  }
}
