import { type CheckedSteps, checkSteps, correctionsOf, type KeptSteps } from "../../rankings/check.ts";
import { asUnavailable, LedgerConnection, PATIENT } from "./connection.ts";
import { idOf, idSql, lockSql, wholeSql } from "./sql.ts";
import { addStep, eachStep, frameOf, renamedOf } from "./steps.ts";

/** Rows read at once: frames are a megabyte at most. */
const FRAMES = 16;
const HISTORY_ROWS = 20_000;
const NO_SUCH_THREAD = 1094;
const DEADLINES = { ...PATIENT, queryMs: 600_000, idleS: 600 };

/**
 * In one snapshot, beside whatever is written meanwhile. `repair`: what cannot be read goes, and what the steps lack is added to
 * them; a ranker that leads has to begin anew to know of it.
 */
export async function checkKeptSteps(
  url: string,
  { repair, nowMs }: { repair: boolean; nowMs: number },
): Promise<CheckedSteps> {
  const connection = await LedgerConnection.open(url, DEADLINES);
  try {
    await connection.write("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ");
    await connection.write("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY");
    const found = await checkSteps(keptBy(connection), nowMs);
    await connection.write("COMMIT");
    if (!repair) return found;
    await connection.write("BEGIN");
    for (const { table, id } of found.broken) await connection.write(`DELETE FROM ${table} WHERE id = ${wholeSql(id)}`);
    for (const frame of correctionsOf(found.differences)) await addStep(connection, frame, 0);
    await connection.write("COMMIT");
    return found;
  } catch (error) {
    throw asUnavailable(error);
  } finally {
    connection.close();
  }
}

/** Takes the lead from the ranker that has it: the next one begins with what is in the ledger. */
export async function unseatRanker(url: string): Promise<void> {
  const connection = await LedgerConnection.open(url, PATIENT);
  try {
    const [row] = await connection.ask(`SELECT IS_USED_LOCK(${lockSql("ranker")})`);
    const session = row?.[0] ?? null;
    if (session !== null) await connection.write(`KILL ${wholeSql(Number(session))}`);
  } catch (error) {
    // It may have ended by itself.
    if ((error as { errno?: number }).errno !== NO_SUCH_THREAD) throw asUnavailable(error);
  } finally {
    connection.close();
  }
}

function keptBy(connection: LedgerConnection): KeptSteps {
  return {
    async renamed() {
      return (await connection.ask("SELECT subject, becomes, up_to FROM step_subjects ORDER BY id")).map(renamedOf);
    },
    async changes(visit) {
      for (let after = 0; ; ) {
        const rows = await connection.ask(
          `SELECT id, frame FROM changes WHERE id > ${wholeSql(after)} ORDER BY id LIMIT ${FRAMES}`,
        );
        for (const row of rows) visit(frameOf(row));
        if (rows.length === 0) return;
        after = Number(rows.at(-1)?.[0]);
      }
    },
    steps(from, visit) {
      return eachStep(connection, from, (row) => {
        visit(frameOf(row));
        return true;
      });
    },
    async history(from, visit) {
      let [subject, metric, at] = [idSql(""), "0", "0"];
      for (;;) {
        const rows = await connection.ask(
          `SELECT subject, metric, at, amount FROM history FORCE INDEX (PRIMARY)
           WHERE subject >= ${subject} AND (subject > ${subject} OR metric > ${metric} OR (metric = ${metric} AND at > ${at}))
           AND (at = 0 OR at >= ${wholeSql(from)}) ORDER BY subject, metric, at LIMIT ${HISTORY_ROWS}`,
        );
        for (const [subject, metric, at, amount] of rows) {
          visit({ subject: idOf(subject as Buffer), metric: Number(metric), at: Number(at), amount: Number(amount) });
        }
        const last = rows.at(-1);
        if (!last) return;
        subject = idSql(idOf(last[0] as Buffer));
        metric = wholeSql(Number(last[1]));
        at = wholeSql(Number(last[2]));
      }
    },
  };
}
