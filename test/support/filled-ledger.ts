import { Database } from "bun:sqlite";
import { shardOf } from "../../src/arithmetic/shard-of.ts";
import { stampAt } from "../../src/arithmetic/stamp.ts";
import type { FilterShare } from "../../src/embedded/filters.ts";
import { SqliteLedgerWriter } from "../../src/embedded/ledger.ts";
import { ensureMetrics, prepareLedger, shareLedger } from "../../src/embedded/open-ledger.ts";
import { BatchBuilder } from "../../src/projector/batch.ts";
import type { RelationRecord } from "../../src/records.ts";

export interface StoredRegister {
  metric: number;
  subject: string;
  actor: string;
}

const LIKES = 500;
const OF_BATCH = 20;
const FROM_MS = Date.UTC(2026, 10, 20, 12);

/** A ledger of likes in small segments, closed, kept and tidied, and the filters that its writer had. */
export function filledLedger(path: string, bounds: { segmentRows: number }) {
  prepareLedger(path);
  const names = ["views", "shares", "likes", "favorites", "follows"];
  const kinds = ["tally", "tally", "relation", "relation", "relation"] as const;
  const metrics = ensureMetrics(
    path,
    names.map((name, i) => ({ name, kind: kinds[i] as "tally" | "relation" })),
  );
  const metric = metrics[2]?.id as number;
  const share: FilterShare = shareLedger(path, 11);
  const writer = new SqliteLedgerWriter(path, share, bounds);
  const last = new Map<number, number>();
  for (let from = 0; from < LIKES; from += OF_BATCH) {
    const builder = new BatchBuilder(writer);
    const records = Array.from({ length: OF_BATCH }, (_, i): RelationRecord => {
      const subject = `article/${(from + i) % 37}`;
      const shard = shardOf(subject);
      const n = (last.get(shard) ?? 0) + 1;
      last.set(shard, n);
      const stamp = stampAt(FROM_MS + from + i, true);
      return { kind: "relation", shard, n, metric, subject, actor: `é${from + i}`, stamp, once: undefined };
    });
    builder.add({ source: "likes", records }, from + OF_BATCH);
    writer.apply(builder.finish(FROM_MS));
  }
  while (writer.tidy(FROM_MS));
  writer.close();
  return {
    share,
    rows: LIKES,
    counts: Array.from({ length: 37 }, (_, i) => `${metric} article/${i}`),
    registersOf(first: number, end = first): StoredRegister[] {
      const db = new Database(path, { readonly: true });
      const sql = "SELECT metric, subject, actor FROM relations WHERE segment BETWEEN ? AND ?";
      const found = db.query<StoredRegister, [number, number]>(sql).all(first, end);
      db.close(true);
      return found;
    },
  };
}
