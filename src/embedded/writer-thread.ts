import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { HybridClock } from "../arithmetic/stamp.ts";
import { SketchBoard } from "../distinct/board.ts";
import { isSystemError } from "../errors.ts";
import { wallMs } from "../lib/fault.ts";
import { Garbage } from "../lib/garbage.ts";
import { LogHead, LogWriter } from "../local/log.ts";
import { OnceKeys } from "../local/once-keys.ts";
import { Uploads } from "../local/uploads.ts";
import { PastChanges } from "../tallies/past-changes.ts";
import { CounterTable } from "../tallies/table.ts";
import { ActReceiver } from "./acts.ts";
import { BulkWriter } from "./bulk-writer.ts";
import { Holds } from "./holds.ts";
import { NumberedAppends } from "./numbered.ts";
import { OverlayWriter } from "./overlay.ts";
import { SqliteLedgerReader } from "./reads.ts";
import { Visits } from "./visits.ts";
import { Writer } from "./writer.ts";
import { WriterJobs } from "./writer-jobs.ts";
import {
  type BulkCommand,
  WRITER_THREAD,
  type WriterCommand,
  type WriterData,
  type WriterMessage,
  type WriterReply,
} from "./writer-messages.ts";

/** A missed ring of the doorbell (there is none that we know of) costs this long. */
const NAP_MS = 250;

/** Acts between two collections of garbage. */
const COLLECT_EVERY = 4_000;
/** What an act leaves behind, about: a note counts as so many. */
const ACT_BYTES = 512;

/**
 * The writer thread sleeps on a futex, not in an event loop: while it waits for the disk, acts gather in the rings and
 * commands at the port, and both are looked at in each round.
 */
function main(data: WriterData): void {
  const ledger = new SqliteLedgerReader(data.node.ledgerPath, data.node.filters);
  const log = new LogWriter(data.logFolder, new LogHead(data.logHead));
  const overlay = new OverlayWriter(data.node.overlay);
  const applied = new LogHead(data.applied);
  const door = new Int32Array(data.node.door);
  const keys = new OnceKeys();
  for (const key of ledger.recentKeys(wallMs())) keys.remember(key);
  const table = CounterTable.attach(data.node.table, WRITER_THREAD);
  const clock = new HybridClock(data.clock);
  const holds = new Holds();
  const board = new SketchBoard(data.node.sketches);
  const past = new PastChanges(data.node.past);
  const visits = new Visits({ ledger, applied: () => applied.position, board });
  const writer = new Writer({ log, table, overlay, ledger, keys, visits, past, source: data.source, clock, holds });
  const jobs = new WriterJobs({ log, table, overlay, ledger, keys, visits, source: data.jobSource, clock, holds });
  const numbered = new NumberedAppends({
    log,
    table,
    overlay,
    ledger,
    holds,
    visits,
    past,
    applied: () => applied.position,
  });
  const uploads = new Uploads(ledger.uploads());
  const bulk = new BulkWriter({ log, table, overlay, ledger, clock, holds, past, uploads });
  const joined = new Map<number, { receiver: ActReceiver; wake: MessagePort }>();
  let receivers: ActReceiver[] = [];
  let stopping = false;
  const garbage = new Garbage(COLLECT_EVERY);

  const command = (message: WriterCommand): void => {
    switch (message.kind) {
      case "join":
        joined.set(message.thread, { receiver: new ActReceiver(message.ring), wake: message.wake });
        receivers = Array.from(joined.values(), (each) => each.receiver);
        break;
      case "left":
        joined.delete(message.thread);
        receivers = Array.from(joined.values(), (each) => each.receiver);
        break;
      case "note":
        note(message.id, message.frame);
        break;
      case "job":
        // What waited for the ledger must not be found in the overlay any more.
        if (overlay.records > 0) overlay.applied(applied.position);
        tell({ kind: "job", id: message.id, reply: jobs.do(message.job) });
        break;
      case "numbered":
        append(message.id, message.frame);
        break;
      case "last-of":
        tell({ kind: "last-of", id: message.id, last: Array.from(numbered.lastOf(message.source)) });
        break;
      case "stop":
        stopping = true;
    }
  };
  const append = (id: number, frame: Uint8Array): void => {
    garbage.add(Math.ceil(frame.length / ACT_BYTES));
    const taken = numbered.append(frame);
    tell({ kind: "numbered", id, taken });
    if (taken.status === "refused") disk(taken.why);
    else if (taken.status === "taken") disk(null);
  };
  const note = (id: number, frame: Uint8Array): void => {
    garbage.add(Math.ceil(frame.length / ACT_BYTES));
    try {
      tell({ kind: "noted", id, end: log.append(frame) });
      writer.trouble = null;
      disk(null);
    } catch (error) {
      if (!isSystemError(error)) throw error;
      tell({ kind: "refused", id, message: error.message });
      disk(error.message);
    }
  };
  /** What waits at the workers' ports, one of each in a round, so that acts are not kept waiting. */
  const takeBulk = (): boolean => {
    let taken = 0;
    for (const { wake } of joined.values()) {
      const got = receiveMessageOnPort(wake);
      if (!got) continue;
      taken++;
      const { id, source, events } = got.message as BulkCommand;
      wake.postMessage({ id, outcome: bulk.append(source, events) } satisfies WriterReply);
      disk(bulk.trouble);
      garbage.add(events.length);
    }
    if (taken > 0) Atomics.sub(door, 1, taken);
    return taken > 0;
  };
  let trouble: string | null = null;
  const disk = (now: string | null): void => {
    if (now === trouble) return;
    trouble = now;
    tell({ kind: "disk", trouble });
  };

  tell({ kind: "ready" });
  for (;;) {
    const rung = Atomics.load(door, 0);
    for (let got = receiveMessageOnPort(data.commands); got; got = receiveMessageOnPort(data.commands)) {
      command(got.message as WriterCommand);
    }
    if (overlay.records > 0) overlay.applied(applied.position);
    const acts = writer.run(receivers);
    const hasBulk = Atomics.load(door, 1) > 0 && takeBulk();
    garbage.add(acts);
    if (acts > 0) {
      disk(writer.trouble);
      for (const { receiver, wake } of joined.values()) if (receiver.mustWake()) wake.postMessage(0);
      continue;
    }
    if (hasBulk) continue;
    if (stopping) break;
    // Acts wait although none could be taken: the overlay is full until the projector is further.
    const waiting = receivers.some((receiver) => receiver.waiting);
    Atomics.wait(door, 0, rung, waiting ? 2 : NAP_MS);
  }
  log.close();
  ledger.close();
  tell({ kind: "stopped" });
  for (const { wake } of joined.values()) wake.close();
  data.commands.close();
}

function tell(message: WriterMessage): void {
  parentPort?.postMessage(message);
}

main(workerData as WriterData);
