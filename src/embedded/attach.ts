import type { MessagePort } from "node:worker_threads";
import { SketchBoard } from "../distinct/board.ts";
import type { Admin } from "../ports/admin.ts";
import type { Counting } from "../ports/counting.ts";
import type { Histories } from "../ports/histories.ts";
import type { Rankings } from "../ports/rankings.ts";
import type { Visitors } from "../ports/visitors.ts";
import { TopLists } from "../rankings/top-lists.ts";
import { PastChanges } from "../tallies/past-changes.ts";
import { CounterTable, type TableShare } from "../tallies/table.ts";
import { Claims, type ClaimsShare } from "../visitors/claims.ts";
import { NodeVisitors } from "../visitors/visitors.ts";
import { type ActRingShare, ActSender } from "./acts.ts";
import { EmbeddedAdmin } from "./admin.ts";
import { EmbeddedCounting } from "./counting.ts";
import type { FilterShare } from "./filters.ts";
import { Overlay, type OverlayShare } from "./overlay.ts";
import { SqliteLedgerReader } from "./reads.ts";
import type { WriterReply } from "./writer-messages.ts";

/** The shared memory and the files of a node, ready to be handed to a thread. */
export interface NodeShare {
  ledgerPath: string;
  filters: FilterShare;
  table: TableShare;
  overlay: OverlayShare;
  visitors: ClaimsShare;
  /** Two words: the writer sleeps on the first one; the second counts what waits at the ports of the workers. */
  door: SharedArrayBuffer;
  /** What the sketches' owner tells (SketchBoard). */
  sketches: SharedArrayBuffer;
  /** What acts of another time change (PastChanges). */
  past: SharedArrayBuffer;
}

/** The same for one request thread, with its own way to the writer. */
export interface EmbeddedShare extends NodeShare {
  deployment: "embedded";
  /** The table's number of this thread. */
  thread: number;
  ring: ActRingShare;
  /** The writer's word that replies have come. */
  woken: MessagePort;
  /** To and from the ranker. */
  rankings: MessagePort;
  /** To main, for what administrators ask. */
  admin: MessagePort;
}

/** A request thread's part of an embedded node. */
export function attachEmbedded(share: EmbeddedShare, press: () => void) {
  const door = new Int32Array(share.door);
  const openLedger = () => new SqliteLedgerReader(share.ledgerPath, share.filters);
  const ledger = openLedger();
  const counting = new EmbeddedCounting({
    table: CounterTable.attach(share.table, share.thread),
    overlay: new Overlay(share.overlay),
    ledger,
    openLedger,
    acts: new ActSender(share.ring),
    sketches: new SketchBoard(share.sketches),
    calls: {
      ring() {
        Atomics.add(door, 0, 1);
        Atomics.notify(door, 0);
      },
      press,
      bulk(command) {
        share.woken.postMessage(command);
        Atomics.add(door, 1, 1);
        Atomics.add(door, 0, 1);
        Atomics.notify(door, 0);
      },
    },
  });
  share.woken.on("message", (message: WriterReply) => {
    if (message === 0) counting.takeReplies();
    else counting.bulk.take(message);
  });
  const rankings = new TopLists(share.rankings);
  const admin = new EmbeddedAdmin(share.admin, counting);
  return {
    counting: counting satisfies Counting,
    past: new PastChanges(share.past),
    visitors: new NodeVisitors(Claims.attach(share.visitors, share.thread)) satisfies Visitors,
    histories: { hours: ({ id }, subject, from, to) => ledger.history(id, subject, from, to) } satisfies Histories,
    admin: admin satisfies Admin,
    rankings: rankings satisfies Rankings,
    close() {
      rankings.close();
      counting.close();
      admin.close();
      share.woken.close();
      ledger.close();
    },
  };
}
