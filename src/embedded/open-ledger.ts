import { Database } from "bun:sqlite";
import { statSync } from "node:fs";
import { drizzle } from "drizzle-orm/bun-sqlite";
import { isSystemError, StartError } from "../errors.ts";
import type { Metric, MetricKind, MetricSetting } from "../model.ts";
import { numberMetrics } from "../ports/metric-numbers.ts";
import { createFilterShare, type FilterShare, Filters } from "./filters.ts";
import { keptSeed } from "./kept-filters.ts";
import { openWriting } from "./ledger.ts";
import { migrate } from "./migrate.ts";
import * as schema from "./schema.ts";
import { loadSegments } from "./segments.ts";

/**
 * Filters take about 4 bytes a register and 3 a count, a 30th of the ledger's own size. A start gives them room for the
 * ledger to grow by 130 million rows; then, until the next start, they say "maybe", and a like asks a hundred trees. It is
 * address space: pages that were never written cost nothing (64 MiB were once full in the middle of 20 million likes).
 */
const FILTER_BYTES_MIN = 512 * 1024 * 1024;
const FILTER_BYTES_MAX = 2048 * 1024 * 1024;

/** A transaction of the projector takes that long at most, and so it is looked whether it has ended. */
const BESIDE_MS_MAX = 60_000;
const BESIDE_PAUSE_MS = 20;

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

/**
 * The configured metrics with their numbers, in their order; new ones get the next. Also for a running ledger.
 * Throws StartError where a kind contradicts stored data.
 */
export function ensureMetrics(path: string, configured: readonly MetricSetting[], waitMs?: number): Metric[] {
  const db = openWriting(path);
  if (waitMs !== undefined) db.run(`PRAGMA busy_timeout = ${waitMs}`);
  // On disk before it returns: the log, which is synced for itself, will hold these numbers.
  db.run("PRAGMA synchronous = FULL");
  try {
    const orm = drizzle({ client: db, schema });
    return orm.transaction(
      (tx) => {
        const { metrics, added } = numberMetrics(configured, tx.select().from(schema.metrics).all());
        if (added.length > 0) tx.insert(schema.metrics).values(added).run();
        return metrics;
      },
      { behavior: "immediate" },
    );
  } finally {
    db.close(true);
  }
}

/**
 * The same while a server runs, whose main thread must not stand still for as long as a merge of a million actors keeps others
 * from writing. Throws StartError where the ledger cannot be written.
 */
export async function ensureMetricsBeside(path: string, configured: readonly MetricSetting[]): Promise<Metric[]> {
  const deadline = performance.now() + BESIDE_MS_MAX;
  for (;;) {
    try {
      return ensureMetrics(path, configured, 0);
    } catch (error) {
      if (!isSystemError(error)) throw error;
      const isBusy = error.code?.startsWith("SQLITE_BUSY") === true;
      if (!isBusy || performance.now() > deadline)
        throw new StartError(`the ledger cannot be written now: ${error.message}`);
    }
    await Bun.sleep(BESIDE_PAUSE_MS);
  }
}

/** All that holds a metric's number beside the log and the counters; frames of rankings follow from these. */
const COUNTED = ["counts", "deltas", "history", "relations", "actors", "sketches", "milestones"];

/** Whether the ledger has anything of a metric. */
export function isCounted(path: string, name: string): boolean {
  const db = new Database(path, { readonly: true });
  try {
    const id = "(SELECT id FROM metrics WHERE name = ?1)";
    const any = COUNTED.map((table) => `EXISTS (SELECT 1 FROM ${table} WHERE metric = ${id})`).join(" OR ");
    return db.query<{ any: number }, [string]>(`SELECT ${any} AS "any"`).get(name)?.any === 1;
  } finally {
    db.close(true);
  }
}

/** Metrics of which there is nothing, neither here nor in the log, become of another kind. They keep their numbers. */
export function changeKinds(path: string, metrics: readonly { name: string; configured: MetricKind }[]): void {
  const db = openWriting(path);
  // On disk before anything is logged of the new kind, as above.
  db.run("PRAGMA synchronous = FULL");
  try {
    for (const { name, configured } of metrics)
      db.run("UPDATE metrics SET kind = ? WHERE name = ?", [configured, name]);
  } finally {
    db.close(true);
  }
}

/** The metrics that the ledger has, by their numbers, for who only reads. */
export function storedMetrics(path: string): Metric[] {
  const db = new Database(path, { readonly: true });
  try {
    return drizzle({ client: db, schema }).select().from(schema.metrics).orderBy(schema.metrics.id).all();
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
