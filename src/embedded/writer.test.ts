import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HybridClock } from "../arithmetic/stamp.ts";
import { SketchBoard } from "../distinct/board.ts";
import { BATCH_ACTS_MAX } from "../limits.ts";
import { LogHead, LogWriter } from "../local/log.ts";
import { OnceKeys } from "../local/once-keys.ts";
import { PastChanges } from "../tallies/past-changes.ts";
import { CounterTable } from "../tallies/table.ts";
import { ActReceiver, ActSender, allocateActRing, CHANGED, REFUSED, RELATE, type ReplyStatus } from "./acts.ts";
import { Bases } from "./bases.ts";
import { Holds } from "./holds.ts";
import { Overlay, OverlayWriter, RegisterKey } from "./overlay.ts";
import { Visits } from "./visits.ts";
import { Writer, type WriterLedger } from "./writer.ts";

const LIKES = 1;
const SUBJECT = "article/1";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tally-writer-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

function open(ledger: Partial<WriterLedger> = {}): Writer {
  const main = CounterTable.create({
    path: join(folder, "counters"),
    countersMax: 10,
    source: "0123456789abcdef",
    nowMs: Date.now(),
  });
  main.install(main.claim(LIKES, SUBJECT), 0);
  const table = CounterTable.attach(main.share(), 1);
  return new Writer({
    log: new LogWriter(join(folder, "log"), new LogHead()),
    table,
    overlay: new OverlayWriter(Overlay.allocate()),
    ledger: { register: () => 0, floor: () => 0, ...ledger },
    keys: new OnceKeys(),
    holds: new Holds(),
    visits: new Visits({
      ledger: { sketch: () => null },
      applied: () => 0,
      board: new SketchBoard(SketchBoard.allocate()),
    }),
    bases: new Bases(table, new PastChanges(PastChanges.allocate())),
    source: "r",
    clock: new HybridClock(),
  });
}

/** A request thread. */
class Thread {
  readonly receiver: ActReceiver;
  readonly #sender: ActSender;
  readonly #key = new RegisterKey();
  #id = 0;
  underWay = 0;

  constructor() {
    const ring = allocateActRing();
    this.receiver = new ActReceiver(ring);
    this.#sender = new ActSender(ring);
  }

  like(actor: string): void {
    this.#key.set(SUBJECT, actor, 0);
    const act = { id: ++this.#id, kind: RELATE, metric: LIKES, shard: 0, active: true, by: 0, sentMs: Date.now() };
    expect(this.#sender.send(act, this.#key, undefined)).toBe(true);
    this.underWay++;
  }

  replies(): ReplyStatus[] {
    const replies: ReplyStatus[] = [];
    this.#sender.replies((_, status) => replies.push(status));
    this.underWay -= replies.length;
    return replies;
  }
}

test("a thread that fills every batch keeps no other waiting", () => {
  const writer = open();
  const [busy, other] = [new Thread(), new Thread()];
  other.like("other");
  for (let round = 0; round < 2; round++) {
    while (busy.underWay < BATCH_ACTS_MAX) busy.like("busy");
    writer.run([busy.receiver, other.receiver]);
    busy.replies();
  }
  expect(other.replies()).toEqual([CHANGED]);
});

test("an act for which the ledger cannot be read is refused, and the others go on", () => {
  const writer = open({
    register(_metric, _subject, actor) {
      if (actor === "unlucky") throw Object.assign(new Error("disk I/O error"), { code: "SQLITE_IOERR_READ" });
      return 0;
    },
  });
  const thread = new Thread();
  for (const actor of ["a", "unlucky", "b"]) thread.like(actor);
  writer.run([thread.receiver]);
  expect(thread.replies()).toEqual([CHANGED, REFUSED, CHANGED]);
});
