import { afterEach, beforeEach, expect, test } from "bun:test";
import { checkKeptSteps } from "../../src/cluster/mysql/check-steps.ts";
import { LedgerConnection, PATIENT } from "../../src/cluster/mysql/connection.ts";
import { MysqlLedgerWriter } from "../../src/cluster/mysql/ledger.ts";
import { MysqlSteps } from "../../src/cluster/mysql/steps.ts";
import { Ranker } from "../../src/rankings/ranker.ts";
import type { LogRecord } from "../../src/records.ts";
import { message, NOW_MS, OwnMysql, PARTITIONS, partitionOf, subjectIn, TOPIC, VIEWS, view } from "./mysql-support.ts";

const mysql = new OwnMysql();
let writer: MysqlLedgerWriter;
beforeEach(() => {
  writer = new MysqlLedgerWriter(mysql.url, { now: () => NOW_MS });
});
afterEach(() => writer.close());

/** One in each partition. */
const SUBJECTS = Array.from({ length: PARTITIONS }, (_, shard) => subjectIn(shard));
const NOW_S = NOW_MS / 1000;
const NOTHING = { broken: [], differences: [] };

const merge = (n: number, subject: string, to: string): LogRecord => {
  return { kind: "merge", shard: SUBJECTS.indexOf(subject), n, metric: 0, subject, to, once: undefined };
};

/** What a ranker that begins now has, and one that has followed. */
async function ranked(): Promise<[string, number][]> {
  const connection = await LedgerConnection.open(mysql.url, PATIENT);
  const ranker = new Ranker(new MysqlSteps(connection), { candidates: 100, halfLifeS: 3_600, unaskedMax: 100 });
  await ranker.step(NOW_S, true);
  const [list] = ranker.top([{ metric: VIEWS, type: "article", window: 0 }], 10);
  await ranker.step(NOW_S + 65, true);
  connection.close();
  return list?.items.map(({ subject, value }) => [subject, value]) ?? [];
}

test.each(["in a transaction of its own", "in one"])(
  "merges that follow each other over the partitions, each %s, are told in their order",
  async (how) => {
    let offset = 0;
    const send = (...records: LogRecord[]) => records.map((record) => message(++offset, "a", record));
    const [last, ...others] = [...SUBJECTS].sort((a, b) => partitionOf(a) - partitionOf(b)) as [string, ...string[]];
    await writer.apply(
      SUBJECTS.flatMap((subject) => send(view(1, subject, 1))),
      TOPIC,
    );
    // From the highest partition down to the lowest.
    const way = [...others.reverse(), last];
    const merges = way.slice(1).map((to, i) => send(merge(2, way[i] as string, to)));
    for (const messages of how === "in one" ? [merges.flat()] : merges) await writer.apply(messages, TOPIC);
    expect(await checkKeptSteps(mysql.url, { repair: false, nowMs: NOW_MS })).toEqual(NOTHING);
    expect(await ranked()).toEqual([[last, PARTITIONS]]);
    expect(await checkKeptSteps(mysql.url, { repair: false, nowMs: NOW_MS })).toEqual(NOTHING);
    expect(await ranked()).toEqual([[last, PARTITIONS]]);
  },
);
