import { shardOf } from "../../arithmetic/shard-of.ts";
import { isActive, msOf } from "../../arithmetic/stamp.ts";
import { hourOf, minuteAt } from "../../arithmetic/windows.ts";
import { COUNT_MAX } from "../../model.ts";
import type { Batch, PlacedJob } from "../../ports/ledger.ts";
import type { EraseRecord, MergeRecord } from "../../records.ts";
import type { LedgerConnection } from "./connection.ts";
import { raiseFloor } from "./floors.ts";
import { registerSql } from "./registers.ts";
import { eraseSketches, mergeSketches } from "./sketches.ts";
import { hexSql, idOf, idSql, rowsSql, wholeSql } from "./sql.ts";

/** Rows that one statement moves or deletes: some 100 ms, far below the deadline for an answer. */
const SLICE_ROWS = 10_000;
const ROWS = 1_000;
/** The first second of the minute that a stamp falls in (milliseconds since 2000 in units of 1/2048). */
const minuteOf = (stamp: string) => `(946684800 + ${stamp} DIV 2048000) DIV 60 * 60`;

/** What followed from jobs, for those who are told of commits. */
export interface JobEffects {
  /** Shards whose counts and registers changed. */
  changed: Set<number>;
  /** Shards that registers of others were moved to. */
  gained: Set<number>;
  /** Changes of relations' counts, by the minute they fall in (its first second since 1970). */
  counts: { shard: number; metric: number; subject: string; minute: number; amount: number }[];
  /** Subjects whose past is another one's now, or (empty) nobody's. */
  becomes: { shard: number; subject: string; other: string }[];
}

type Placed<T> = T & Pick<PlacedJob, "source">;

/**
 * Erasures and merges, in the transaction that ends with them: of their shards everything before them in the log is in the
 * ledger, and nothing that comes after. Which shards' counts and registers they have changed: copies cannot be told all that,
 * and are brought up to the ledger instead.
 */
export async function doJobs(connection: LedgerConnection, { jobs, nowMs }: Batch): Promise<JobEffects> {
  const effects: JobEffects = { changed: new Set(), gained: new Set(), counts: [], becomes: [] };
  for (let i = 0; i < jobs.length; ) {
    const job = jobs[i] as PlacedJob;
    let next = i + 1;
    if (job.kind === "merge") await merge(connection, job, nowMs, effects);
    else if (job.actor === "") await eraseSubject(connection, job, nowMs, effects);
    else {
      // The records of one erasure stand in one message, one for each shard.
      while (isOfActor(jobs[next], job.actor)) next++;
      await eraseActor(connection, jobs.slice(i, next) as Placed<EraseRecord>[], nowMs, effects);
    }
    i = next;
  }
  return effects;
}

function isOfActor(job: PlacedJob | undefined, actor: string): boolean {
  return job?.kind === "erase" && job.actor === actor;
}

async function eraseSubject(
  connection: LedgerConnection,
  job: Placed<EraseRecord>,
  nowMs: number,
  effects: JobEffects,
): Promise<void> {
  const rows = await connection.ask(`SELECT metric, count FROM counts WHERE subject = ${idSql(job.subject)}`);
  await tell(connection, nowMs, [[job, new Map(rows.map(([metric, count]) => [Number(metric), Number(count)]))]]);
  await removeSubject(connection, job.subject);
  await eraseSketches(connection, job.subject);
  effects.changed.add(job.shard);
  effects.becomes.push({ shard: job.shard, subject: job.subject, other: "" });
}

async function removeSubject(connection: LedgerConnection, subject: string): Promise<void> {
  const of = `WHERE subject = ${idSql(subject)}`;
  await removeRelations(connection, of);
  await connection.write(`DELETE FROM counts ${of}`);
  await connection.write(`DELETE FROM history ${of}`);
  // Another projector's tidying (OldHistory) that this has waited for has put a sum before the hours which it took away.
  await connection.write(`DELETE FROM history ${of} AND at = 0`);
}

async function removeRelations(connection: LedgerConnection, of: string): Promise<void> {
  const slice = `DELETE FROM relations ${of} LIMIT ${SLICE_ROWS}`;
  while ((await connection.write(slice)).affectedRows === SLICE_ROWS);
}

async function eraseActor(
  connection: LedgerConnection,
  jobs: readonly Placed<EraseRecord>[],
  nowMs: number,
  effects: JobEffects,
): Promise<void> {
  const { actor, stamp } = jobs[0] as EraseRecord;
  const found = new Map(jobs.map((job) => [job.shard, { job, counts: new Map<number, number>() }]));
  const all = await connection.ask(
    `SELECT subject, metric, stamp FROM relations FORCE INDEX (PRIMARY) WHERE actor = ${idSql(actor)}`,
  );
  const registers = all.flatMap(([subject, metric, stamp]) => {
    const register = { actor, subject: idOf(subject as Buffer), metric: Number(metric), stamp: Number(stamp) };
    const shard = shardOf(register.subject);
    const of = found.get(shard);
    if (!of) return [];
    effects.changed.add(shard);
    if (isActive(register.stamp)) of.counts.set(register.metric, (of.counts.get(register.metric) ?? 0) + 1);
    return [register];
  });
  for (let from = 0; from < registers.length; from += ROWS) {
    const part = registers.slice(from, from + ROWS);
    const active = part.filter((register) => isActive(register.stamp));
    if (active.length > 0) {
      await connection.write(
        `INSERT INTO counts (subject, metric, count) VALUES
         ${rowsSql(active, ({ subject, metric }) => `(${idSql(subject)},${wholeSql(metric)},-1)`)}
         ON DUPLICATE KEY UPDATE count = count - 1`,
      );
      const minute = (stamp: number) => minuteAt(msOf(stamp));
      const at = (stamp: number) => wholeSql(hourOf(minute(stamp)));
      for (const { subject, metric, stamp } of active) {
        effects.counts.push({ shard: shardOf(subject), metric, subject, minute: minute(stamp), amount: -1 });
      }
      await connection.write(
        `INSERT INTO history (subject, metric, at, amount) VALUES
         ${rowsSql(active, (it) => `(${idSql(it.subject)},${wholeSql(it.metric)},${at(it.stamp)},-1)`)}
         ON DUPLICATE KEY UPDATE amount = amount - 1`,
      );
    }
    await connection.write(`DELETE FROM relations WHERE (actor, subject, metric) IN (${rowsSql(part, registerSql)})`);
  }
  await tell(
    connection,
    nowMs,
    Array.from(found.values(), ({ job, counts }) => [job, counts]),
  );
  await raiseFloor(connection, actor, stamp, [...found.keys()]);
}

/** An actor on both is on `to` since the later time; the history of `from` moves, but for the lower of two such likes. */
async function merge(
  connection: LedgerConnection,
  job: Placed<MergeRecord>,
  nowMs: number,
  effects: JobEffects,
): Promise<void> {
  const { subject, to, shard } = job;
  const [from, into] = [idSql(subject), idSql(to)];
  const add = (column: string) => `ON DUPLICATE KEY UPDATE ${column} = ${column} + VALUES(${column})`;
  // Two sums that each node has seen for itself may be too much together: then nothing is merged, and its key is free again.
  const [full] = await connection.ask(
    `SELECT given.metric, given.count FROM counts AS given JOIN counts AS there ON there.subject = ${into} AND there.metric = given.metric
     WHERE given.subject = ${from} AND given.count > ${wholeSql(COUNT_MAX)} - there.count LIMIT 1`,
  );
  if (full) {
    await tell(connection, nowMs, [[job, new Map([[Number(full[0]), Number(full[1])]])]]);
    if (job.once) await connection.write(`DELETE FROM \`keys\` WHERE \`key\` = ${hexSql(job.once.key)}`);
    return;
  }
  const twice = await moveRelations(connection, from, into);
  await connection.write(
    `INSERT INTO counts (subject, metric, count)
     SELECT ${into}, metric, count FROM counts AS given WHERE subject = ${from} ${addOf("count", "counts")}`,
  );
  await connection.write(
    `INSERT INTO history (subject, metric, at, amount)
     SELECT ${into}, metric, at, amount FROM history AS given WHERE subject = ${from} ${addOf("amount", "history")}`,
  );
  for (const [id, at, actors] of twice) {
    const less = -actors;
    const [idText, hour, lessText] = [id, hourOf(at), less].map(wholeSql);
    await connection.write(
      `INSERT INTO counts (subject, metric, count) VALUES (${into},${idText},${lessText}) ${add("count")}`,
    );
    await connection.write(
      `INSERT INTO history (subject, metric, at, amount) VALUES (${into},${idText},${hour},${lessText}) ${add("amount")}`,
    );
    effects.counts.push({ shard, metric: id, subject: to, minute: at, amount: less });
  }
  await removeSubject(connection, subject);
  await mergeSketches(connection, subject, to);
  effects.changed.add(shard).add(shardOf(to));
  effects.gained.add(shardOf(to));
  effects.becomes.push({ shard, subject, other: to });
}

/**
 * The active ones, slice by slice: however many there are, a slice takes its time and no more, and what is inactive is in no
 * slice's way. Who was on both, by metric and the minute of the lower stamp.
 */
async function moveRelations(
  connection: LedgerConnection,
  from: string,
  into: string,
): Promise<(readonly [metric: number, minute: number, actors: number])[]> {
  await removeRelations(connection, `WHERE subject = ${from} AND active = 0`);
  // The same rows each time, as no two have the same place in this order.
  const slice = `WHERE subject = ${from} AND active = 1 ORDER BY metric, stamp, actor LIMIT ${SLICE_ROWS}`;
  const given = `(SELECT actor, metric, stamp FROM relations ${slice}) AS given LEFT JOIN relations AS there
    ON there.actor = given.actor AND there.subject = ${into} AND there.metric = given.metric`;
  const twice = new Map<string, number>();
  for (let moved = SLICE_ROWS; moved === SLICE_ROWS; ) {
    const both = await connection.ask(
      `SELECT given.metric, ${minuteOf("LEAST(given.stamp, there.stamp)")} AS at, COUNT(*) FROM ${given}
       WHERE there.active = 1 GROUP BY 1, 2`,
    );
    for (const [metric, minute, actors] of both) {
      const name = `${metric} ${minute}`;
      twice.set(name, (twice.get(name) ?? 0) + Number(actors));
    }
    await connection.write(
      `INSERT INTO relations (actor, subject, metric, stamp)
       SELECT given.actor, ${into}, given.metric, IF(there.active = 1, GREATEST(there.stamp, given.stamp), given.stamp)
       FROM ${given} ON DUPLICATE KEY UPDATE stamp = VALUES(stamp)`,
    );
    moved = (await connection.write(`DELETE FROM relations ${slice}`)).affectedRows;
  }
  return Array.from(twice, ([name, actors]) => {
    const [metric, minute] = name.split(" ").map(Number) as [number, number];
    return [metric, minute, actors] as const;
  });
}

/** In an INSERT … SELECT from the same table the column must be said to be the stored row's. */
function addOf(column: string, table: string): string {
  return `ON DUPLICATE KEY UPDATE ${table}.${column} = ${table}.${column} + VALUES(${column})`;
}

/** Notes what was taken away, or could not be merged, for who asked for it. */
async function tell(
  connection: LedgerConnection,
  nowMs: number,
  found: readonly (readonly [job: Pick<PlacedJob, "source" | "shard" | "n">, counts: ReadonlyMap<number, number>])[],
): Promise<void> {
  const rows = found.flatMap(([{ source, shard, n }, counts]) =>
    Array.from(counts)
      .filter(([, count]) => count > 0)
      .map(([metric, count]) => {
        const numbers = [shard, n, metric, count, nowMs].map(wholeSql);
        return `(${idSql(source)},${numbers.join(",")})`;
      }),
  );
  if (rows.length === 0) return;
  await connection.write(
    `INSERT INTO erased (source, shard, n, metric, count, at_ms) VALUES ${rows.join(",")}
     ON DUPLICATE KEY UPDATE count = VALUES(count)`,
  );
}
