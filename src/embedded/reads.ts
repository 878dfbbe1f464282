import { Database, type Statement } from "bun:sqlite";
import { newestFirst, type Place } from "../arithmetic/place.ts";
import { SHARDS } from "../arithmetic/shard.ts";
import type { Stamp } from "../arithmetic/stamp.ts";
import { HOUR_S } from "../arithmetic/windows.ts";
import { Sketch } from "../distinct/sketch.ts";
import { actorHash } from "../local/actor-hash.ts";
import { type Actor, COUNT_MAX, type Subject } from "../model.ts";
import type { LedgerReader, ShardState, SourceState, StoredKey } from "../ports/ledger.ts";
import { COUNT } from "./deltas.ts";
import { type FilterShare, Filters } from "./filters.ts";
import { KEY_STEPS, keyStep } from "./keys.ts";

const CACHE_KIB = 16 * 1024;
/** Readers never wait for the writer (WAL); only while the ledger is recovered after a crash is it locked for a moment. */
const BUSY_MS = 5_000;

/** One thread's view of the ledger: a read-only connection with its own prepared statements. */
export class SqliteLedgerReader implements LedgerReader {
  #db: Database;
  #filters: Filters;
  #sql: ReturnType<typeof prepare>;
  #inSnapshot = false;

  constructor(path: string, share: FilterShare) {
    this.#db = new Database(path, { readonly: true });
    this.#db.run(`PRAGMA busy_timeout = ${BUSY_MS}`);
    this.#db.run(`PRAGMA cache_size = -${CACHE_KIB}`);
    this.#filters = new Filters(share);
    this.#sql = prepare(this.#db);
  }

  /** Runs several reads on one commit. */
  snapshot<T>(reads: () => T): T {
    if (this.#inSnapshot) return reads();
    const release = this.hold();
    try {
      return reads();
    } finally {
      release();
    }
  }

  /** All reads are on one commit, that of the first of them, until it is released: for who shares the connection with nobody. */
  hold(): () => void {
    this.#sql.begin.run();
    this.#inSnapshot = true;
    return () => {
      this.#inSnapshot = false;
      this.#sql.end.run();
    };
  }

  position(): number {
    return this.#sql.position.get()?.at ?? 0;
  }

  count(metric: number, subject: Subject): number {
    if (!this.#filters.mayCount(metric, subject)) return 0;
    return Math.min(this.#sql.count.get(subject, metric)?.count ?? 0, COUNT_MAX);
  }

  /** Subjects with counts between two, the first `limit` of each table: sorted each, and together all up to the first one's end. */
  countedSubjects({ after, below, limit }: { after: Subject; below: Subject; limit: number }): Subject[][] {
    const subjects = (rows: unknown[][]) => rows.map(([subject]) => subject as Subject);
    const lists = [subjects(this.#sql.countedSubjects.values(after, below, limit))];
    for (const { segment } of this.#sql.deltaSegments.all()) {
      lists.push(subjects(this.#sql.deltaSubjects.values(segment, after, below, limit)));
    }
    return lists;
  }

  /** Every count of the subjects behind `after`, up to and with `to`. */
  eachCount(after: Subject, to: Subject, visit: (subject: Subject, metric: number, count: number) => void): void {
    for (const { subject, metric, count } of this.#sql.eachCount.all(after, to)) visit(subject, metric, count);
  }

  /** False: there is no such count. Costs no question to the ledger. */
  mayCount(metric: number, subject: Subject): boolean {
    return this.#filters.mayCount(metric, subject);
  }

  countsOf(subject: Subject): [metric: number, count: number][] {
    const counts = this.#sql.countsOf.values(subject) as [number, number][];
    return counts.map(([metric, count]) => [metric, Math.min(count, COUNT_MAX)]);
  }

  /**
   * Without a transaction, since one costs as much as the look: segments are asked from the oldest to the newest, and a row
   * only ever moves to a newer one, so if it moves meanwhile it is still ahead, be it in a segment that is new.
   */
  register(metric: number, subject: Subject, actor: Actor): Stamp {
    const filters = this.#filters;
    filters.aim(actor, subject);
    for (let segment = filters.nextHolding(0); segment >= 0; segment = filters.nextHolding(segment + 1)) {
      const row = this.#sql.register.get(segment, actor, subject, metric);
      if (row) return row.stamp;
    }
    return 0;
  }

  /** In the same order and for the same reason as `register`; a row met twice on its way counts as the later one. */
  registersOf(subject: Subject, actor: Actor): [metric: number, stamp: Stamp][] {
    const filters = this.#filters;
    let found: [number, Stamp][] = [];
    filters.aim(actor, subject);
    for (let segment = filters.nextHolding(0); segment >= 0; segment = filters.nextHolding(segment + 1)) {
      const rows = this.#sql.registersOf.values(segment, actor, subject) as [number, Stamp][];
      if (found.length > 0) found = found.filter(([metric]) => !rows.some((row) => row[0] === metric));
      found = found.concat(rows);
    }
    return found;
  }

  /** The registers of an actor on each of the subjects; for an actor who has none there it takes a look at the filters each. */
  registersOfActor(
    actor: Actor,
    subjects: readonly Subject[],
    visit: (place: number, metric: number, stamp: Stamp) => void,
  ): void {
    for (let i = 0; i < subjects.length; i++) {
      for (const [metric, stamp] of this.registersOf(subjects[i] as Subject, actor)) visit(i, metric, stamp);
    }
  }

  /** Every subject of the type that the actor has the relation active on, in no order; one who asks at a time. */
  subjectsOfType(metric: number, actor: Actor, type: string): Iterable<{ subject: Subject }> {
    return this.#sql.subjectsOfType.iterate(actor, metric, ...rangeOf(type));
  }

  newestActors(metric: number, subject: Subject, before: Place, limit: number): Place[] {
    return this.#newest(before, limit, (segment) => {
      return this.#sql.newestActors.all(segment, subject, metric, before.stamp, before.id, limit);
    });
  }

  newestSubjects(metric: number, actor: Actor, before: Place, limit: number, type?: string): Place[] {
    const { stamp, id } = before;
    return this.#newest(before, limit, (segment) => {
      if (type === undefined) return this.#sql.newestSubjects.all(segment, actor, metric, stamp, id, limit);
      return this.#sql.newestOfType.all(segment, actor, metric, stamp, id, ...rangeOf(type), limit);
    });
  }

  actorCount(metric: number, actor: Actor, type?: string): number {
    return this.snapshot(() => {
      const totals = this.#sql.totals.all(actor, metric);
      if (totals.length > 0) {
        let count = 0;
        for (const total of totals) if (type === undefined || total.type === type) count += total.count;
        return count;
      }
      if (type === undefined) return this.#sql.actorCount.get(actor, metric)?.count ?? 0;
      return this.#sql.actorCountOfType.get(actor, metric, ...rangeOf(type))?.count ?? 0;
    });
  }

  history(metric: number, subject: Subject, from: number, to: number): [at: number, amount: number][] {
    if (!this.#filters.mayCount(metric, subject)) return [];
    return this.#sql.history.values(subject, metric, from, to) as [number, number][];
  }

  /** All subjects on which the actor has the relation active, in no order. */
  activeOf(metric: number, actor: Actor): [subject: Subject, stamp: Stamp][] {
    return this.#sql.activeOf.values(actor, metric) as [Subject, Stamp][];
  }

  /** Until when nothing the actor did counts any more: a floor for stamps, 0 where the actor was never erased. */
  floor(actor: Actor): Stamp {
    return this.#sql.floor.get(actorHash(actor))?.stamp ?? 0;
  }

  /** A tally's sketch of a day, or of ALL_TIME; null where nobody has come. */
  sketch(metric: number, subject: Subject, day: number): Sketch | null {
    const row = this.#sql.sketch.get(day, subject, metric);
    return row && Sketch.decode(row.sketch);
  }

  recentKeys(nowMs: number): StoredKey[] {
    return this.#sql.recentKeys.all(keyStep(nowMs) - KEY_STEPS).map(({ key, body, atMs }) => ({
      key: Buffer.from(key).toString("hex"),
      body: Buffer.from(body).toString("hex"),
      atMs,
    }));
  }

  shards(): ShardState[] {
    const states: ShardState[] = Array.from({ length: SHARDS }, () => ({ version: 0, stampMax: 0 }));
    for (const { shard, version, stampMax } of this.#sql.shards.all()) states[shard] = { version, stampMax };
    return states;
  }

  /** The last number decided of each shard. */
  lastOf(source: string): Float64Array {
    const last = new Float64Array(SHARDS);
    for (const row of this.#sql.sourcesOf.all(source)) last[row.shard] = row.last;
    return last;
  }

  sources(): SourceState[] {
    return this.#sql.sources.all();
  }

  /** The numbers of uploads, and when the ledger got them. */
  uploads(): (SourceState & { atMs: number })[] {
    return this.#sql.uploads.all();
  }

  /** How SQLite answers each statement: for tests, which see to it that nothing is scanned or sorted. */
  explain(): { sql: string; plan: string }[] {
    return Object.values(this.#sql)
      .map((statement) => statement.toString().replace(/\bNULL\b/g, "?"))
      .filter((sql) => sql.startsWith("SELECT") && sql.includes("WHERE"))
      .map((sql) => {
        const steps = this.#db.query<{ detail: string }, []>(`EXPLAIN QUERY PLAN ${sql}`).all();
        return { sql, plan: steps.map(({ detail }) => detail).join("; ") };
      });
  }

  close(): void {
    this.#db.close(true);
  }

  /**
   * The newest `limit` items over all segments. Their ranges of stamps hardly overlap and mostly the first few suffice: it
   * ends where no segment left can have an item newer than the last one found.
   */
  #newest(before: Place, limit: number, list: (segment: number) => Place[]): Place[] {
    return this.snapshot(() => {
      const filters = this.#filters;
      const order: number[] = [];
      for (let segment = filters.segmentCount - 1; segment >= 0; segment--) {
        if (filters.stampMin(segment) <= before.stamp) order.push(segment);
      }
      order.sort((a, b) => filters.stampMax(b) - filters.stampMax(a));
      let items: Place[] = [];
      for (const segment of order) {
        const last = items[limit - 1];
        if (last && last.stamp > filters.stampMax(segment)) break;
        const more = list(segment);
        if (more.length === 0) continue;
        items = items.length === 0 ? more : items.concat(more).sort(newestFirst);
        if (items.length > limit) items.length = limit;
      }
      return items;
    });
  }
}

/** The subjects of a type lie between `type/` and `type0` ("0" follows "/"). */
function rangeOf(type: string): [from: string, to: string] {
  return [`${type}/`, `${type}0`];
}

function prepare(db: Database) {
  const one = <Row, Params extends (string | number | Uint8Array)[]>(sql: string) =>
    db.prepare(sql) as Statement<Row, Params>;
  const active = "stamp & 1";
  return {
    begin: one<never, []>("BEGIN"),
    end: one<never, []>("COMMIT"),
    position: one<{ at: number }, []>("SELECT at FROM position"),
    count: one<{ count: number }, [string, number]>(`SELECT ${COUNT} AS count`),
    countsOf: one<never, [string]>(
      `SELECT metric, sum(count) FROM (
         SELECT metric, count FROM counts WHERE subject = ?1
         UNION ALL
         SELECT metric, amount FROM delta_segments CROSS JOIN deltas USING (segment) WHERE subject = ?1
       ) GROUP BY metric`,
    ),
    countedSubjects: one<never, [string, string, number]>(
      "SELECT DISTINCT subject FROM counts WHERE subject > ? AND subject < ? ORDER BY subject LIMIT ?",
    ),
    deltaSegments: one<{ segment: number }, []>("SELECT segment FROM delta_segments"),
    deltaSubjects: one<never, [number, string, string, number]>(
      "SELECT DISTINCT subject FROM deltas WHERE segment = ? AND subject > ? AND subject < ? ORDER BY subject LIMIT ?",
    ),
    eachCount: one<{ subject: string; metric: number; count: number }, [string, string]>(
      `SELECT subject, metric, sum(count) AS count FROM (
         SELECT subject, metric, count FROM counts WHERE subject > ?1 AND subject <= ?2
         UNION ALL
         SELECT subject, metric, amount FROM delta_segments CROSS JOIN deltas USING (segment)
         WHERE deltas.subject > ?1 AND deltas.subject <= ?2
       ) GROUP BY subject, metric`,
    ),
    register: one<{ stamp: number }, [number, string, string, number]>(
      "SELECT stamp FROM relations WHERE segment = ? AND actor = ? AND subject = ? AND metric = ?",
    ),
    registersOf: one<never, [number, string, string]>(
      "SELECT metric, stamp FROM relations WHERE segment = ? AND actor = ? AND subject = ?",
    ),
    newestActors: one<Place, [number, string, number, number, string, number]>(
      `SELECT actor AS id, stamp FROM relations INDEXED BY relations_by_subject
       WHERE segment = ? AND subject = ? AND metric = ? AND (stamp, actor) < (?, ?) AND ${active}
       ORDER BY stamp DESC, actor DESC LIMIT ?`,
    ),
    newestSubjects: one<Place, [number, string, number, number, string, number]>(
      `SELECT subject AS id, stamp FROM relations INDEXED BY relations_by_actor
       WHERE segment = ? AND actor = ? AND metric = ? AND (stamp, subject) < (?, ?) AND ${active}
       ORDER BY stamp DESC, subject DESC LIMIT ?`,
    ),
    newestOfType: one<Place, [number, string, number, number, string, string, string, number]>(
      `SELECT subject AS id, stamp FROM relations INDEXED BY relations_by_actor
       WHERE segment = ? AND actor = ? AND metric = ? AND (stamp, subject) < (?, ?) AND subject >= ? AND subject < ?
       AND ${active} ORDER BY stamp DESC, subject DESC LIMIT ?`,
    ),
    subjectsOfType: one<{ subject: string }, [string, number, string, string]>(
      `SELECT subject FROM segments CROSS JOIN relations INDEXED BY relations_by_actor
       ON relations.segment = segments.segment
       WHERE actor = ? AND metric = ? AND ${active} AND subject >= ? AND subject < ?`,
    ),
    totals: one<{ type: string; count: number }, [string, number]>(
      "SELECT type, count FROM actors WHERE actor = ? AND metric = ?",
    ),
    actorCount: one<{ count: number }, [string, number]>(
      `SELECT count(*) AS count FROM segments CROSS JOIN relations INDEXED BY relations_by_actor
       ON relations.segment = segments.segment WHERE actor = ? AND metric = ? AND ${active}`,
    ),
    actorCountOfType: one<{ count: number }, [string, number, string, string]>(
      `SELECT count(*) AS count FROM segments CROSS JOIN relations INDEXED BY relations_by_actor
       ON relations.segment = segments.segment
       WHERE actor = ? AND metric = ? AND ${active} AND subject >= ? AND subject < ?`,
    ),
    // By hours, as the table's key begins with them; a day of them costs as much as one page of the table.
    history: one<never, [string, number, number, number]>(
      `WITH RECURSIVE hours (at) AS (VALUES (?3) UNION ALL SELECT at + ${HOUR_S} FROM hours WHERE at + ${HOUR_S} < ?4)
       SELECT at, sum(amount) AS amount FROM (
         SELECT history.at, amount FROM hours CROSS JOIN history
           ON history.at = hours.at AND subject = ?1 AND metric = ?2
         UNION ALL
         SELECT at, amount FROM delta_segments CROSS JOIN deltas USING (segment)
           WHERE subject = ?1 AND metric = ?2 AND at >= ?3 AND at < ?4
       ) GROUP BY at HAVING sum(amount) <> 0 ORDER BY at`,
    ),
    activeOf: one<never, [string, number]>(
      `SELECT subject, stamp FROM segments CROSS JOIN relations INDEXED BY relations_by_actor
       ON relations.segment = segments.segment WHERE actor = ? AND metric = ? AND ${active}`,
    ),
    floor: one<{ stamp: number }, [Uint8Array]>("SELECT stamp FROM floors WHERE actor = ?"),
    sketch: one<{ sketch: Uint8Array }, [number, string, number]>(
      "SELECT sketch FROM sketches WHERE day = ? AND subject = ? AND metric = ?",
    ),
    recentKeys: one<{ key: Uint8Array; body: Uint8Array; atMs: number }, [number]>(
      "SELECT key, body, at_ms AS atMs FROM keys WHERE step >= ? ORDER BY at_ms",
    ),
    shards: one<{ shard: number; version: number; stampMax: number }, []>(
      "SELECT shard, version, stamp_max AS stampMax FROM shards",
    ),
    sourcesOf: one<{ shard: number; last: number }, [string]>("SELECT shard, last FROM sources WHERE source = ?"),
    sources: one<SourceState, []>("SELECT source, shard, last FROM sources"),
    uploads: one<SourceState & { atMs: number }, []>(
      "SELECT source, shard, last, at_ms AS atMs FROM sources WHERE source >= 'u' AND source < 'v'",
    ),
  };
}
