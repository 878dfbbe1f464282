import { Database } from "bun:sqlite";
import { parentPort, workerData } from "node:worker_threads";
import { readFrame } from "../records.ts";
import { checkLedger, type LedgerDifference, repairLedger } from "./check.ts";
import { FileLogReader, LogHead } from "./log.ts";
import type { VerifyData, VerifyMessage } from "./verify.ts";

const READ_BYTES = 4 * 1024 * 1024;

/**
 * Recounts in a thread of its own, as it may take a minute, and the server goes on counting. In one snapshot of the
 * ledger: its rows against its counts; and the log's frames, which must be whole and numbered without a gap.
 */
function main({ ledgerPath, logFolder, logHead, repair }: VerifyData): void {
  const names = metricNames(ledgerPath);
  const found: LedgerDifference[] = [];
  for (const difference of checkLedger(ledgerPath)) {
    if (repair) found.push(difference);
    else tell({ kind: "difference", text: describe(difference, names), isMended: false });
  }
  if (repair && found.length > 0) {
    const left = new Set(repairLedger(ledgerPath, found));
    for (const difference of found) {
      tell({ kind: "difference", text: describe(difference, names), isMended: !left.has(difference) });
    }
  }
  tell({ kind: "done", ...checkLog(logFolder, new LogHead(logHead)) });
}

function checkLog(folder: string, head: LogHead): { frames: number; records: number } {
  const reader = new FileLogReader(folder, head);
  const last = new Map<string, number>();
  let frames = 0;
  let records = 0;
  const end = head.position;
  try {
    for (let at = reader.start(); at < end; ) {
      for (const { bytes, next } of reader.read(at, READ_BYTES)) {
        at = next;
        frames++;
        const { source, records: inFrame } = readFrame(bytes);
        for (const { shard, n } of inFrame) {
          records++;
          const key = `${source} ${shard}`;
          const before = last.get(key);
          if (before !== undefined && n !== before + 1) {
            const text = `log: source ${source}, shard ${shard}: record ${n} follows ${before}`;
            tell({ kind: "difference", text, isMended: false });
          }
          last.set(key, n);
        }
      }
    }
  } catch (error) {
    tell({ kind: "difference", text: `log: ${error instanceof Error ? error.message : error}`, isMended: false });
  } finally {
    reader.close();
  }
  return { frames, records };
}

function describe(difference: LedgerDifference, names: ReadonlyMap<number, string>): string {
  const nameOf = (metric: number) => names.get(metric) ?? `metric ${metric}`;
  switch (difference.what) {
    case "count": {
      const { metric, subject, expected, found } = difference;
      return `count of ${nameOf(metric)} on ${subject}: stored ${found}, recounted ${expected}`;
    }
    case "register": {
      const { metric, subject, actor, found } = difference;
      return `register of ${nameOf(metric)} of ${actor} on ${subject}: ${found} rows instead of one`;
    }
    case "actor total": {
      const { metric, actor, type, expected, found } = difference;
      return `total of ${nameOf(metric)} of ${actor} on ${type}: stored ${found}, recounted ${expected}`;
    }
    case "segment":
      return `segment ${difference.segment}: stored ${difference.found}, recounted ${difference.expected}`;
    case "file":
      return `file ledger.db: ${difference.message}`;
  }
}

function metricNames(ledgerPath: string): Map<number, string> {
  const db = new Database(ledgerPath, { readonly: true });
  try {
    const rows = db.query<{ id: number; name: string }, []>("SELECT id, name FROM metrics").all();
    return new Map(rows.map(({ id, name }) => [id, name]));
  } finally {
    db.close();
  }
}

function tell(message: VerifyMessage): void {
  parentPort?.postMessage(message);
}

main(workerData as VerifyData);
