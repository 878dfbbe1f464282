import { parentPort, workerData } from "node:worker_threads";
import { DAY_MS } from "../arithmetic/days.ts";
import { ALL_TIME } from "../distinct/sketches.ts";
import { wallMs } from "../lib/fault.ts";
import { SETTLE_MS_MAX } from "../limits.ts";
import { FileLogReader, LogHead } from "../local/log.ts";
import { inWords } from "../rankings/check.ts";
import { readFrame } from "../records.ts";
import { checkLedger, type LedgerDifference, repairLedger } from "./check.ts";
import { FilterCheck, type FilterDifference } from "./check-filters.ts";
import { checkKeptSteps, repairSteps } from "./check-steps.ts";
import { Filters } from "./filters.ts";
import { storedMetrics } from "./open-ledger.ts";
import type { VerifyData, VerifyMessage } from "./verify.ts";

type Difference = LedgerDifference | FilterDifference;

const READ_BYTES = 4 * 1024 * 1024;

/**
 * Recounts in a thread of its own, as it may take a minute, and the server goes on counting. In one snapshot of the
 * ledger: its rows against its counts; then its history against what is kept for the rankings; then the filters that must know these rows; and the log's frames, which must be whole
 * and numbered without a gap.
 */
async function main({ ledgerPath, filters, logFolder, logHead, repair }: VerifyData): Promise<void> {
  const names = metricNames(ledgerPath);
  compare(checkLedger(ledgerPath), names, repair && ((found) => repairLedger(ledgerPath, found)));
  // Behind the counts: what is mended of a relation's history falls in no hour.
  const steps = await checkKeptSteps(ledgerPath, wallMs());
  if (repair && steps.broken.length + steps.differences.length > 0) repairSteps(ledgerPath, steps);
  for (const text of inWords(steps, (name) => countOf(name, names)))
    tell({ kind: "difference", text, isMended: repair });
  const check = new FilterCheck(ledgerPath, filters);
  compare(check.run(), names, repair && ((found) => (new Filters(filters).refill(SETTLE_MS_MAX) ? [] : found)));
  check.close();
  tell({ kind: "done", registers: check.rows, ...checkLog(logFolder, new LogHead(logHead)) });
}

/** Tells each as it is found, or, to mend them together, all at the end; `mend` gives back what it could not. */
function compare<Found extends Difference>(
  differences: Iterable<Found>,
  names: ReadonlyMap<number, string>,
  mend: ((found: Found[]) => Iterable<Found>) | false,
): void {
  if (mend === false) {
    for (const each of differences) tell({ kind: "difference", text: describe(each, names), isMended: false });
    return;
  }
  const found = [...differences];
  const left = new Set(found.length > 0 ? mend(found) : []);
  for (const each of found) tell({ kind: "difference", text: describe(each, names), isMended: !left.has(each) });
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

function countOf({ metric, subject }: { metric: number; subject: string }, names: ReadonlyMap<number, string>): string {
  return `${names.get(metric) ?? `metric ${metric}`} on ${subject}`;
}

function describe(difference: Difference, names: ReadonlyMap<number, string>): string {
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
      const of = day === ALL_TIME ? "all time" : new Date(day * DAY_MS).toISOString().slice(0, 10);
      return `sketch of ${nameOf(metric)} on ${subject} of ${of}: found ${found}, expected ${expected}`;
    }
    case "segment":
      return `segment ${difference.segment}: stored ${difference.found}, recounted ${difference.expected}`;
    case "filter": {
      const { copy, segment, metric, subject, actor, isLast } = difference;
      const kept = copy === "ledger" ? ", as the ledger keeps it," : "";
      return `filter of segment ${segment}${kept} says never of ${nameOf(metric)} of ${actor} on ${subject}${etc(isLast)}`;
    }
    case "counts' filter": {
      const { metric, subject, isLast } = difference;
      return `filter of counts says never of ${nameOf(metric)} on ${subject}${etc(isLast)}`;
    }
    case "file":
      return `file ledger.db: ${difference.message}`;
  }
}

function etc(isLast: boolean): string {
  return isLast ? "; no more of this filter are named" : "";
}

function metricNames(ledgerPath: string): Map<number, string> {
  return new Map(storedMetrics(ledgerPath).map(({ id, name }) => [id, name]));
}

function tell(message: VerifyMessage): void {
  parentPort?.postMessage(message);
}

void main(workerData as VerifyData);
