import { ChangeWriter, FRAME_BYTES } from "../../rankings/changes.ts";
import type { CountChange } from "./apply.ts";
import type { LedgerConnection } from "./connection.ts";
import type { JobEffects } from "./jobs.ts";
import { hexSql, wholeSql } from "./sql.ts";

/**
 * What the transaction changes, for the rankings: numbered by partition, whose rows it has locked, so that the numbers rise in
 * the order of the commits and none is left out. The last number of each partition. How they follow each other over all
 * partitions their ids say.
 */
export async function storeChanges(
  connection: LedgerConnection,
  counts: readonly CountChange[],
  effects: JobEffects,
  { shards, last }: { shards: ReadonlyMap<number, number>; last: ReadonlyMap<number, number> },
): Promise<Map<number, number>> {
  const writers = new Map<number, ChangeWriter>();
  const writerOf = (shard: number): ChangeWriter => {
    const partition = shards.get(shard) as number;
    let writer = writers.get(partition);
    if (!writer) {
      writer = new ChangeWriter();
      writers.set(partition, writer);
    }
    return writer;
  };
  for (const { shard, metric, subject, minutes } of counts) {
    const writer = writerOf(shard);
    for (const [minute, amount] of minutes) if (amount !== 0) writer.add(metric, minute, subject, amount);
  }
  // Jobs end a transaction: of what came before them nothing may stand behind their marks, which follow each other in one frame.
  for (const { shard, metric, subject, minute, amount } of effects.counts) {
    writerOf(shard).add(metric, minute, subject, amount);
  }
  const marks = new ChangeWriter();
  for (const { subject, other } of effects.becomes) marks.becomes(subject, other);
  const [job] = effects.becomes;
  const numbers = new Map(last);
  const all = [...writers, ...(job ? [[shards.get(job.shard) as number, marks] as const] : [])];
  for (const [partition, writer] of all) {
    for (const frame of writer.finish(FRAME_BYTES)) {
      const n = (numbers.get(partition) ?? 0) + 1;
      numbers.set(partition, n);
      const values = `${wholeSql(partition)}, ${wholeSql(n)}, ${hexSql(frame.toString("hex"))}`;
      await connection.write(`INSERT INTO changes (part, n, frame) VALUES (${values})`);
    }
  }
  return numbers;
}
