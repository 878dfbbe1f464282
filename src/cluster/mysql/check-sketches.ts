import { shardOf } from "../../arithmetic/shard-of.ts";
import { decoded, sketchProblem } from "../../distinct/check.ts";
import { Sketch } from "../../distinct/sketch.ts";
import { ALL_TIME } from "../../distinct/sketches.ts";
import { asUnavailable, LedgerConnection, PATIENT } from "./connection.ts";
import { hexSql, idOf, idSql, rowsSql, wholeSql } from "./sql.ts";

/** See `sketchProblem`. */
export interface StoredSketchDifference {
  metric: number;
  subject: string;
  day: number;
  expected: string;
  found: string;
  mended: boolean;
}

interface StoredSketch {
  subject: string;
  metric: number;
  day: number;
  sketch: Buffer;
}

/** Subjects in one statement, which is one snapshot: 36 KB for each metric of each. */
const SUBJECTS = 50;

/** All sketches, beside whatever is written meanwhile. */
export async function* checkSketches(url: string, repair: boolean): AsyncGenerator<StoredSketchDifference> {
  const connection = await LedgerConnection.open(url, { ...PATIENT, queryMs: 600_000, idleS: 600 });
  try {
    for (let after = ""; ; ) {
      const subjects = await connection.ask(
        `SELECT DISTINCT subject FROM sketches WHERE subject > ${idSql(after)} ORDER BY subject LIMIT ${SUBJECTS}`,
      );
      if (subjects.length === 0) return;
      const names = subjects.map(([subject]) => idOf(subject as Buffer));
      after = names.at(-1) as string;
      for (const difference of differencesIn(await sketchesOf(connection, names))) {
        if (repair) await mend(connection, difference);
        yield { ...difference, mended: repair };
      }
    }
  } catch (error) {
    throw asUnavailable(error);
  } finally {
    connection.close();
  }
}

async function sketchesOf(connection: LedgerConnection, subjects: readonly string[]): Promise<StoredSketch[]> {
  const rows = await connection.ask(
    `SELECT subject, metric, day, sketch FROM sketches FORCE INDEX (PRIMARY)
     WHERE subject IN (${rowsSql(subjects, idSql)}) ORDER BY subject, metric, day`,
  );
  return rows.map(([subject, metric, day, sketch]) => {
    return { subject: idOf(subject as Buffer), metric: Number(metric), day: Number(day), sketch: sketch as Buffer };
  });
}

function differencesIn(sketches: readonly StoredSketch[]): Omit<StoredSketchDifference, "mended">[] {
  const wholes = new Map(sketches.filter(({ day }) => day === ALL_TIME).map((each) => [nameOf(each), each.sketch]));
  return sketches.flatMap(({ sketch, ...name }) => {
    const problem = sketchProblem(name.day, sketch, wholes.get(nameOf(name)) ?? null);
    return problem ? [{ ...name, ...problem }] : [];
  });
}

/** What is no sketch goes, and begins anew; what all time lacks it gets. With the shard locked, as the projector does it. */
async function mend(
  connection: LedgerConnection,
  { subject, metric, day }: Omit<StoredSketch, "sketch">,
): Promise<void> {
  const shard = wholeSql(shardOf(subject));
  const of = `subject = ${idSql(subject)} AND metric = ${wholeSql(metric)}`;
  await connection.write("BEGIN");
  await connection.ask(`SELECT version FROM shards WHERE shard = ${shard} FOR UPDATE`);
  const stored = (await sketchesOf(connection, [subject])).filter((each) => each.metric === metric);
  const bytesOf = (wanted: number) => stored.find((each) => each.day === wanted)?.sketch ?? Buffer.alloc(0);
  const own = decoded(bytesOf(day));
  if (!own) {
    await connection.write(`DELETE FROM sketches WHERE ${of} AND day = ${wholeSql(day)}`);
  } else {
    const all = decoded(bytesOf(ALL_TIME)) ?? new Sketch();
    all.merge(own);
    const hex = hexSql(Buffer.from(all.encode()).toString("hex"));
    await connection.write(
      `REPLACE INTO sketches (subject, metric, day, sketch) VALUES (${idSql(subject)},${wholeSql(metric)},${ALL_TIME},${hex})`,
    );
  }
  await connection.write("COMMIT");
}

function nameOf({ metric, subject }: { metric: number; subject: string }): string {
  return `${metric} ${subject}`;
}
