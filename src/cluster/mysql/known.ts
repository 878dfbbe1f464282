import type { Stamp } from "../../arithmetic/stamp.ts";
import type { Sliced } from "../../lib/slices.ts";
import type { CountName, RegisterName } from "../../ports/hot-store.ts";
import type { KnownQuestion } from "../ledger.ts";
import type { Row } from "./connection.ts";
import { REGISTER, registerSql } from "./registers.ts";
import { idOf, idSql, ofTypeSql, rowsSql, wholeSql } from "./sql.ts";

/** Rows between two ends of a slice. */
const STEP = 256;
const LISTED = 1;
const REGISTERED = 0;

/**
 * One statement, so that all of it is of one snapshot: of lists that are walked, each active actor whom the asker follows
 * (looked up by primary key); of the others, for each one followed, the register on each list (by primary key too); and
 * registers that something newer may be on its way for.
 */
export function knownSql(question: KnownQuestion): string {
  const { actor, relation, type, walked, looked, registers } = question;
  const parts: string[] = [];
  if (walked.length > 0) {
    parts.push(
      `SELECT ${LISTED}, l.subject, l.metric, l.actor, l.stamp FROM (${listsSql(walked)}) AS lists
       STRAIGHT_JOIN relations AS l FORCE INDEX (relations_by_subject)
         ON l.subject = lists.subject AND l.metric = lists.metric AND l.active = 1
       STRAIGHT_JOIN relations AS f FORCE INDEX (PRIMARY)
         ON f.actor = ${idSql(actor)} AND f.subject = CONCAT(${idSql(`${type}/`)}, l.actor)
         AND f.metric = ${wholeSql(relation)} AND f.active = 1`,
    );
  }
  if (looked.length > 0) {
    parts.push(
      `SELECT ${LISTED}, l.subject, l.metric, l.actor, l.stamp
       FROM relations AS f FORCE INDEX (relations_by_actor) STRAIGHT_JOIN (${listsSql(looked)}) AS lists
       STRAIGHT_JOIN relations AS l FORCE INDEX (PRIMARY)
         ON l.actor = SUBSTRING(f.subject, ${wholeSql(type.length + 2)}) AND l.subject = lists.subject
         AND l.metric = lists.metric AND l.active = 1
       WHERE f.actor = ${idSql(actor)} AND f.metric = ${wholeSql(relation)} AND f.active = 1
       AND ${ofTypeSql(type).replaceAll("subject", "f.subject")}`,
    );
  }
  if (registers.length > 0) {
    parts.push(
      `SELECT ${REGISTERED}, subject, metric, actor, stamp FROM relations FORCE INDEX (PRIMARY)
       WHERE ${REGISTER} IN (${rowsSql(registers, registerSql)})`,
    );
  }
  return parts.join(" UNION ALL ");
}

/** A table of counts' names. As bytes: a text would not find its way into the index. */
function listsSql(lists: readonly CountName[]): string {
  return lists
    .map(({ subject, metric }, i) => {
      const [one, other] = i === 0 ? [" AS subject", " AS metric"] : ["", ""];
      return `SELECT X'${Buffer.from(subject).toString("hex")}'${one}, ${wholeSql(metric)}${other}`;
    })
    .join(" UNION ALL ");
}

interface KnownRows {
  listed: [RegisterName, Stamp][];
  stored: [RegisterName, Stamp][];
}

/** They may be hundreds of thousands. */
export function* knownRows(rows: readonly Row[]): Sliced<KnownRows> {
  const listed: [RegisterName, Stamp][] = [];
  const stored: [RegisterName, Stamp][] = [];
  for (let i = 0; i < rows.length; i++) {
    if (i % STEP === STEP - 1) yield;
    const [kind, subject, metric, actor, stamp] = rows[i] as Row;
    const name = { subject: idOf(subject as Buffer), metric: Number(metric), actor: idOf(actor as Buffer) };
    (Number(kind) === LISTED ? listed : stored).push([name, Number(stamp)]);
  }
  return { listed, stored };
}
