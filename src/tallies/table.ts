import { ptr, toArrayBuffer } from "bun:ffi";
import { fault } from "../lib/fault.ts";
import { Chains } from "./chains.ts";
import { DirtyBits } from "./dirty-bits.ts";
import {
  COUNTERS_MAX,
  DEAD,
  fileBytes,
  LIVE,
  LOADED,
  metricOf,
  SLOT_BYTES,
  slotsFor,
  TALLY_BYTES,
  THREADS_MAX,
} from "./layout.ts";
import { Newcomers } from "./newcomers.ts";
import { Pool } from "./pool.ts";
import { Slots } from "./slots.ts";
import { TableFile } from "./table-file.ts";
import {
  ALLOCATED,
  CONTROL_WORDS,
  DEPARTURES,
  EPOCH,
  FRESH,
  LIVE_COUNT,
  PRESSURE,
  Threads,
  USED_SLOTS,
  WANT_CHUNK,
} from "./threads.ts";
import { Touched } from "./touched.ts";

export { OWING_TOO_MUCH, TOO_HIGH } from "./slots.ts";

/*
 * The counters of this node, in memory that all threads share: one table object in each thread, one memory.
 *
 * WHERE WHAT IS
 * Slots (metric, subject, base) and their tallies are a mapped file, so that they outlive SIGKILL: recovery.ts reads from
 * them what was acknowledged and not yet in the log. How to find them (chains, free slots, dirty bits, epochs) is SharedArrayBuffers,
 * empty at each start. Main maps the file once and the other threads wrap the same address, so it counts once as
 * resident memory; main therefore keeps its Uint8Array for as long as any thread lives.
 *
 * WHO WRITES WHAT, WHEN
 *   META     LIVE with key length and metric by the claimer, last of all, before the slot is in a chain
 *            LOADED and mark by whoever is OWNER; LEAVING and DEAD by main, by compare-and-swap from META without
 *            OWNER; LEAVING is cleared by anyone who finds the slot. Zero again by main when nobody can hold the slot
 *   ADDS     any worker, Atomics.add; never reset, see slots.ts
 *   NOTED    the flusher (main), after its note is in the log
 *   LOW HIGH whoever is OWNER: the loader (install), the writer (setBase, addToBase), the flusher (rebase)
 *   KEY      the claimer, before LIVE
 *   heads    any claimer by compare-and-swap (insert), main by compare-and-swap (unlink); next: the claimer before the
 *            insert, main afterwards
 *
 * INSIDE THE BRACKETS
 * Every thread but main calls enter() before and leave() after, and a slot number is worth nothing after leave().
 * A slot that find() or claim() returned stays that counter's until leave():
 *
 *   main:   META |= LEAVING (slot is clean)  ─ epoch e ─ all out or in e ─ clean? ─ the ledger has it ─ LEAVING → DEAD
 *   worker: enter  find (sees no LEAVING)  add  leave           was in before e: main waits, and then sees the add
 *   worker:                       enter  find (clears LEAVING)  add      main's swap of LEAVING to DEAD fails
 *   worker:                                                               enter  find (sees DEAD: absent)
 *
 * Between "sees LEAVING" and "clears it" main may be faster: the worker's swap then fails and it sees DEAD. So no add
 * ever reaches a dead slot, and add() itself need not look. A DEAD slot is unlinked, and is given to others only after
 * one more epoch: who walks the chain still stands on it. The next claimer of the key gets a new slot, which is loaded
 * from a ledger that has all that the old one held.
 *
 * LOADING
 * While a slot is not LOADED nothing of its counter goes into the log: workers load before they add, the flusher skips
 * the slot (its bit stays), the writer loads before it logs. So the ledger's number stands still, and any reading of it
 * made since the claim is the base. Of two loaders the first installs, the other drops its own. A loader that leaves the
 * brackets while it waits for the ledger notes departures() before it asks: if they moved, the slot may be another one
 * and the reading too old.
 *
 * A THREAD THAT DIES (threadGone) leaves at most: four slots and one counter's place, until the next start; a slot whose
 * OWNER it is (taken back, since it published which); an add that was made and not yet answered.
 */

/** What another thread needs to attach; can be cloned. */
export interface TableShare {
  address: number;
  bytes: number;
  countersMax: number;
  seed: number;
  heads: SharedArrayBuffer;
  next: SharedArrayBuffer;
  dirty: SharedArrayBuffer;
  touched: SharedArrayBuffer;
  newcomers: SharedArrayBuffer;
  control: SharedArrayBuffer;
}

interface TableStats {
  counters: number;
  countersMax: number;
  slotsUsed: number;
  slotsMax: number;
  /** Space taken on the disk. */
  bytes: number;
}

/** Main takes space for so many slots ahead of the claimers: an eighth of what is used, at least 4 MiB. */
const AHEAD_MIN = 2 ** 16;

export class CounterTable {
  readonly countersMax: number;
  readonly slotsMax: number;
  /** The parts, for Leaving. */
  readonly slots: Slots;
  readonly chains: Chains;
  readonly pool: Pool;
  readonly threads: Threads;
  readonly newcomers: Newcomers;
  readonly touched: Touched;
  readonly control: Int32Array;
  private readonly dirty: DirtyBits;
  private readonly shared: TableShare;
  private readonly file: TableFile | null;

  private constructor(shared: TableShare, buffer: ArrayBuffer, thread: number, file: TableFile | null) {
    this.shared = shared;
    this.file = file;
    this.countersMax = shared.countersMax;
    this.slotsMax = slotsFor(shared.countersMax);
    this.control = new Int32Array(shared.control);
    this.dirty = new DirtyBits(shared.dirty);
    this.touched = new Touched(shared.touched);
    const next = new Int32Array(shared.next);
    this.threads = new Threads(this.control, thread);
    this.newcomers = new Newcomers(shared.newcomers, this.slotsMax);
    this.slots = new Slots(buffer, {
      slotsMax: this.slotsMax,
      thread,
      threads: this.threads,
      newcomers: this.newcomers,
    });
    this.pool = new Pool(this.control, next, this.countersMax, this.slotsMax);
    this.chains = new Chains(new Int32Array(shared.heads), next, this.slots, this.pool, shared.seed);
  }

  /** Main, thread 0: a new file in the place of any old one (recoverTable() reads that first), and an empty table. */
  static create(options: { path: string; countersMax: number; source: string; nowMs: number }): CounterTable {
    const { path, countersMax, source, nowMs } = options;
    if (!Number.isInteger(countersMax) || countersMax < 1 || countersMax > COUNTERS_MAX) {
      throw new RangeError(`countersMax must be 1 to ${COUNTERS_MAX}, not ${countersMax}`);
    }
    const slots = slotsFor(countersMax);
    const file = new TableFile(path, { countersMax, slots, source, createdMs: nowMs });
    const share: TableShare = {
      address: ptr(file.map),
      bytes: fileBytes(slots),
      countersMax,
      seed: crypto.getRandomValues(new Int32Array(1))[0] as number,
      // Pages of these cost nothing until they are touched.
      heads: new SharedArrayBuffer(4 * 2 ** Math.ceil(Math.log2(1.5 * countersMax))),
      next: new SharedArrayBuffer(4 * slots),
      dirty: new SharedArrayBuffer(DirtyBits.bytes(slots)),
      touched: new SharedArrayBuffer(Touched.bytes(slots)),
      newcomers: Newcomers.allocate(slots),
      control: new SharedArrayBuffer(4 * CONTROL_WORDS),
    };
    const table = new CounterTable(share, file.map.buffer, 0, file);
    Atomics.store(table.control, EPOCH, 1);
    try {
      table.provision();
    } catch (error) {
      table.close();
      throw error;
    }
    return table;
  }

  /** Any other thread: `thread` is its own number, 1 to 61, which nobody else has while it lives. */
  static attach(share: TableShare, thread: number): CounterTable {
    if (thread < 1 || thread >= THREADS_MAX) throw new RangeError(`no thread ${thread}`);
    return new CounterTable(share, toArrayBuffer(share.address as never, 0, share.bytes), thread, null);
  }

  share(): TableShare {
    return this.shared;
  }

  enter(): void {
    this.threads.enter();
  }

  leave(): void {
    this.threads.leave();
  }

  /** The slot of a counter, or -1 if it is not here. */
  find(metric: number, subject: string): number {
    const slot = this.chains.find(metric, subject);
    if (slot >= 0) this.touch(slot);
    return slot;
  }

  /** The same without calling it used: for who goes through all of them. */
  peek(metric: number, subject: string): number {
    return this.chains.find(metric, subject);
  }

  /** The subjects of counters that rose from 0 so lately that the ledger may lack them, and perhaps others. Inside the brackets. */
  visitNewcomers(visit: (subject: string) => void): void {
    this.newcomers.visit((slot) => {
      if ((this.slots.meta(slot) & (LIVE | DEAD)) === LIVE) visit(this.chains.subject(slot));
    });
  }

  /** The slot of a counter, a new one (not loaded) if it is not here, or -1: no room, ask main and try again. */
  claim(metric: number, subject: string): number {
    const slot = this.chains.claim(metric, subject);
    if (slot >= 0) this.touch(slot);
    return slot;
  }

  isLoaded(slot: number): boolean {
    return this.slots.isLoaded(slot);
  }

  /** Gives a new slot the ledger's count; false if another thread was first (its base holds, this one is dropped). */
  install(slot: number, count: number, tell?: (slot: number, adds: number) => void): boolean {
    return this.slots.install(slot, count, tell);
  }

  /** Adds to a loaded slot: the value with it, or OWING_TOO_MUCH or TOO_HIGH, and then nothing was added. */
  add(slot: number, by: number): number {
    const value = this.slots.add(slot, by);
    fault("worker.added");
    if (value >= 0) this.markDirty(slot);
    return value;
  }

  shown(slot: number): number {
    return this.slots.shown(slot);
  }

  /** What the log has of a loaded counter; exact inside Flusher.around(). */
  logged(slot: number): number {
    return this.slots.logged(slot);
  }

  /** Writer: the value of a counter nobody adds to (a relation), as it is after what was logged. Loads the slot too. */
  setBase(slot: number, count: number): void {
    if (count > 0 && (!this.slots.isLoaded(slot) || this.slots.shown(slot) === 0)) this.newcomers.mark(slot);
    this.slots.setValueTo(slot, count);
  }

  /** Writer: what the log has from elsewhere than a note (a keyed increment); the new value. The slot must be loaded. */
  addToBase(slot: number, delta: number): number {
    if (!this.slots.isLoaded(slot)) throw new Error(`slot ${slot} was to be moved before it was loaded`);
    if (this.slots.shown(slot) === 0) this.newcomers.mark(slot);
    return this.slots.moveBase(slot, delta);
  }

  touch(slot: number): void {
    this.touched.mark(slot);
  }

  /** How often main has let counters go; see LOADING. */
  departures(): number {
    return Atomics.load(this.control, DEPARTURES);
  }

  markDirty(slot: number): void {
    this.dirty.mark(slot);
  }

  /* Below: main only. */

  /** Makes the next takeDirty() look at every slot: a thread that died may have added without setting the bit. */
  markAllDirty(): void {
    this.dirty.markAll(Atomics.load(this.control, FRESH));
  }

  /** Visits every loaded counter that was added to since the last call. Who cannot settle one marks it dirty again. */
  takeDirty(visit: (slot: number) => void): void {
    this.dirty.take(Atomics.load(this.control, FRESH), (slot) => {
      const meta = this.slots.meta(slot);
      if ((meta & (LIVE | DEAD)) !== LIVE) return;
      if ((meta & LOADED) !== 0) visit(slot);
      else this.dirty.mark(slot);
    });
  }

  /** Visits every loaded counter in the slots `from` to `to`; false: there are none from `to` on. */
  visitLoaded(from: number, to: number, visit: (slot: number) => void): boolean {
    const end = Atomics.load(this.control, FRESH);
    for (let slot = from; slot < Math.min(to, end); slot++) {
      if ((this.slots.meta(slot) & (LIVE | LOADED | DEAD)) === (LIVE | LOADED)) visit(slot);
    }
    return to < end;
  }

  /** How much was added that the log does not have. */
  owed(slot: number): number {
    return this.slots.owed(slot);
  }

  /** What NOTED is when a note of `amount` is in the log. */
  notedAfter(slot: number, amount: number): number {
    return this.slots.notedAfter(slot, amount);
  }

  key(slot: number): { metric: number; subject: string } {
    return { metric: metricOf(this.slots.meta(slot)), subject: this.chains.subject(slot) };
  }

  /** The metric of a slot, and its subject as bytes in `keyBytes`, until the next call. */
  readKey(slot: number): { metric: number; length: number } {
    return { metric: metricOf(this.slots.meta(slot)), length: this.chains.readKey(slot) };
  }

  get keyBytes(): Uint8Array {
    return this.chains.keyBytes;
  }

  setNoted(slot: number, notedAfter: number): void {
    this.slots.setNoted(slot, notedAfter);
  }

  /** The end of the last note that all its slots know of, kept in the file: older notes need not be looked at again. */
  get notedPosition(): number {
    return this.ownFile().notedPosition;
  }

  set notedPosition(position: number) {
    this.ownFile().notedPosition = position;
  }

  set flushedAtMs(atMs: number) {
    this.ownFile().flushedAtMs = atMs;
  }

  /**
   * Takes disk space ahead of the claimers, at most 8 MiB a call: true when there is more to take. Throws what the disk
   * says; claimers then get -1, and what is in the table goes on.
   */
  provision(): boolean {
    const file = this.ownFile();
    const fresh = Atomics.load(this.control, FRESH);
    const wanted = Math.min(this.slotsMax, fresh + Math.max(AHEAD_MIN, fresh >>> 3));
    if (file.allocated >= wanted) return false;
    const allocated = file.allocate(wanted);
    Atomics.store(this.control, ALLOCATED, allocated);
    Atomics.store(this.control, WANT_CHUNK, 0);
    return allocated < wanted;
  }

  /** What claimers who got -1 are waiting for. */
  wants(): { space: boolean; room: boolean } {
    return {
      space: Atomics.load(this.control, WANT_CHUNK) !== 0,
      room: Atomics.load(this.control, PRESSURE) !== 0,
    };
  }

  /**
   * A thread ended without leave(): its number may be given out again afterwards. The loaded slot whose base it may have
   * left half written, or -1.
   */
  threadGone(thread: number): number {
    const held = this.threads.gone(thread);
    return held >= 0 && this.slots.disown(held, thread) ? held : -1;
  }

  stats(): TableStats {
    return {
      counters: Atomics.load(this.control, LIVE_COUNT),
      countersMax: this.countersMax,
      slotsUsed: Atomics.load(this.control, USED_SLOTS),
      slotsMax: this.slotsMax,
      bytes: Atomics.load(this.control, ALLOCATED) * (SLOT_BYTES + TALLY_BYTES),
    };
  }

  /** After the last flush, when all other threads are gone and the log has everything. */
  closeClean(): void {
    this.file?.markClean();
    this.close();
  }

  /** The mapping itself goes when this object does. */
  close(): void {
    this.file?.close();
  }

  private ownFile(): TableFile {
    if (this.file === null) throw new Error("only main has the file");
    return this.file;
  }
}
