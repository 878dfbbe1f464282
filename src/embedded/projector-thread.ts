import { setPriority } from "node:os";
import { workerData } from "node:worker_threads";
import { FileLogReader, LogHead } from "../local/log.ts";
import { ProjectorControl } from "../projector/control.ts";
import { Projector } from "../projector/projector.ts";
import { log } from "../telemetry/log.ts";
import { SqliteLedgerWriter } from "./ledger.ts";
import type { ProjectorData } from "./projector-link.ts";

/** Stands back for the threads that answer (Linux: the priority is the thread's), unless it may not come forward again. */
const NICE = 5;

/**
 * The collector counts the filters' shared memory as this thread's own and would wait until as much garbage has come
 * together, hundreds of megabytes. Asked after so many records it takes about 20 ms, 0.2 µs a record.
 */
const GARBAGE_RECORDS = 100_000;
/** What is left after a burst goes when no batch has come for so long: more than from one flush to the next. */
const QUIET_MS = 3_000;

function main(data: ProjectorData): void {
  const control = new ProjectorControl(data.share);
  const reader = new FileLogReader(data.logFolder, new LogHead(data.share.head));
  const ledger = new SqliteLedgerWriter(data.ledgerPath, data.filters, {
    milestones: data.milestones,
    historyDays: data.historyDays,
  });
  const canHurry = mayRaisePriority();
  if (canHurry) setPriority(0, NICE);
  let garbage = 0;
  let appliedAt = 0;
  const collect = () => {
    garbage = 0;
    Bun.gc(true);
  };
  const projector = new Projector(
    { log: reader, ledger, control },
    {
      applied(batch) {
        log.debug("batch applied", { ...batch });
        garbage += batch.records;
        appliedAt = performance.now();
        if (garbage >= GARBAGE_RECORDS) collect();
      },
      idle() {
        if (garbage > 0 && performance.now() - appliedAt > QUIET_MS) collect();
      },
      lost(loss) {
        log.error("records are missing in the log: they were numbered and never came", { ...loss });
      },
      failing(error, retryMs) {
        log.limited("ledger", 60_000).error("the ledger cannot be written, trying again", { error, retryMs });
      },
      recovered() {
        log.info("the ledger can be written again");
      },
      hurry(is) {
        if (canHurry) setPriority(0, is ? 0 : NICE);
        if (is) log.limited("lag", 60_000).warn("the ledger is behind the log", { lagMs: control.lagMs });
      },
    },
  );
  projector.run();
  ledger.close();
  reader.close();
}

/** Whoever may go above 0 may also go back to it. */
function mayRaisePriority(): boolean {
  if (process.platform !== "linux") return false;
  try {
    setPriority(0, -1);
    setPriority(0, 0);
    return true;
  } catch {
    return false;
  }
}

main(workerData as ProjectorData);
