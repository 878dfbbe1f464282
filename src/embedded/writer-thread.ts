import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { HybridClock } from "../arithmetic/stamp.ts";
import { SketchBoard } from "../distinct/board.ts";
import { isSystemError } from "../errors.ts";
import { wallMs } from "../lib/fault.ts";
import { Garbage } from "../lib/garbage.ts";
import { LogHead, LogWriter } from "../local/log.ts";
import { OnceKeys } from "../local/once-keys.ts";
import { readFrame } from "../records.ts";
import { PastChanges } from "../tallies/past-changes.ts";
import { CounterTable } from "../tallies/table.ts";
import { ActReceiver } from "./acts.ts";
import { Bases } from "./bases.ts";
import { Holds } from "./holds.ts";
import { ImportSources } from "./import-sources.ts";
import { NumberedAppends, type NumberedSource, type Taken } from "./numbered.ts";
import { OverlayWriter } from "./overlay.ts";
import { SqliteLedgerReader } from "./reads.ts";
import { Uploads } from "./uploads.ts";
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
  const bases = new Bases(table, new PastChanges(data.node.past));
  const visits = new Visits({ ledger, applied: () => applied.position, board });
  const parts = { log, table, bases, overlay, ledger, keys, clock, holds, visits };
  const writer = new Writer({ ...parts, source: data.source });
  const jobs = new WriterJobs({ ...parts, source: data.jobSource });
  const numbered = new NumberedAppends(parts);
  const imports = new ImportSources(ledger, () => applied.position);
  const uploads = new Uploads(ledger.uploads());
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
        tell({ kind: "numbered", id: message.id, taken: append(message.frame, (name) => imports.of(name)) });
        break;
      case "last-of":
        tell({ kind: "last-of", id: message.id, last: Array.from(imports.of(message.source).last) });
        break;
      case "stop":
        stopping = true;
    }
  };
  const append = (bytes: Uint8Array, sourceOf: (name: string) => NumberedSource | null): Taken => {
    const { source: name, records } = readFrame(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length));
    garbage.add(records.length);
    const source = sourceOf(name);
    return source ? numbered.append(source, records) : { status: "refused", why: "too many uploads are remembered" };
  };
  const note = (id: number, frame: Uint8Array): void => {
    try {
      tell({ kind: "noted", id, end: log.append(frame) });
      // Young collections leave some of these buffers to the next full one: 130 MB of them with notes of 2 MB a second.
      (frame.buffer as ArrayBuffer).transfer(0);
    } catch (error) {
      if (!isSystemError(error)) throw error;
      tell({ kind: "refused", id, message: error.message });
    }
  };
  /** What waits at the workers' ports, one of each in a round, so that acts are not kept waiting. */
  const takeBulk = (): boolean => {
    let messages = 0;
    for (const { wake } of joined.values()) {
      const got = receiveMessageOnPort(wake);
      if (!got) continue;
      messages++;
      const message = got.message as BulkCommand;
      const answer =
        "frame" in message
          ? append(message.frame, (name) => uploads.of(name, wallMs()))
          : uploads.lastOf(message.source, wallMs());
      wake.postMessage({ id: message.id, answer } satisfies WriterReply);
    }
    if (messages > 0) Atomics.sub(door, 1, messages);
    return messages > 0;
  };
  let trouble: string | null = null;
  const tellDisk = (): void => {
    if (log.trouble === trouble) return;
    trouble = log.trouble;
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
    log.probe();
    tellDisk();
    if (acts > 0) {
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
