import { Database } from "bun:sqlite";
import { parentPort, workerData } from "node:worker_threads";
import { ALL_TIME } from "../distinct/sketches.ts";
import { FileLogReader, LogHead } from "../local/log.ts";
import { readFrame } from "../records.ts";
import { checkLedger, type LedgerDifference, repairLedger } from "./check.ts";
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
  const look = (bytes: Buffer): void => {
    frames++;
    const { source, records: inFrame } = readFrame(bytes);
    for (const { shard, n } of inFrame) {
      records++;
      const key = `${source} ${shard}`;
      const before = last.get(key);
      if (before !== undefined && n !== before + 1) {
        tell({ kind: "difference", text: `log: ${source}, shard ${shard}: ${n} follows ${before}`, isMended: false });
      }
      last.set(key, n);
    }
  };
  for (let at = reader.start(); at < end; ) {
    try {
      for (const { bytes, next } of reader.read(at, READ_BYTES)) {
        look(bytes);
        at = next;
      }
    } catch (error) {
      // The server may have given up the file meanwhile, as the ledger has it; then the log begins further on.
      const start = reader.start();
      if (start <= at) {
        tell({ kind: "difference", text: `log: ${error instanceof Error ? error.message : error}`, isMended: false });
        break;
      }
      last.clear();
      at = start;
    }
  }
  reader.close();
  return { frames, records };
}

function describe(difference: LedgerDifference, names: ReadonlyMap<number, string>): string {
  const nameOf = (metric: number) => names.get(metric) ?? `metric ${metric}`;
  switch (difference.what) {
    case "count": {
      const { metric, subject, expected, found } = difference;
      return `count of ${nameOf(metric)} on ${subject}: stored ${found}, recounted ${expected}`;
    }
    case "history": {
      const { metric, subject, expected, found } = difference;
      return `history of ${nameOf(metric)} on ${subject}: adds up to ${found}, recounted ${expected}`;
    }
    case "register": {
      const { metric, subject, actor, found } = difference;
      return `register of ${nameOf(metric)} of ${actor} on ${subject}: ${found} rows instead of one`;
    }
    case "actor total": {
      const { metric, actor, type, expected, found } = difference;
      return `total of ${nameOf(metric)} of ${actor} on ${type}: stored ${found}, recounted ${expected}`;
    }
    case "sketch": {
      const { metric, subject, day, expected, found } = difference;
      const of = day === ALL_TIME ? "all time" : new Date(day * 86_400_000).toISOString().slice(0, 10);
      return `sketch of ${nameOf(metric)} on ${subject} of ${of}: found ${found}, expected ${expected}`;
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
