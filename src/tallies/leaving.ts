import { DEAD, LEAVING, LIVE, META, OWNER } from "./layout.ts";
import { wordOf } from "./slots.ts";
import type { CounterTable } from "./table.ts";
import { DEPARTURES, FRESH, PRESSURE } from "./threads.ts";

/** Where the log ends, and up to where the ledger has it: both only grow. */
interface LogPositions {
  logHead(): number;
  applied(): number;
}

/*
 * resting ──(too full)──▸ choosing ──▸ settling ──▸ waiting ──▸ dying ──▸ draining ──▸ resting
 *
 * choosing   a clock goes over the slots: touched ones lose the touch, clean ones get LEAVING
 * settling   until all threads are out that may have found a slot without LEAVING; then those that owe or were found
 *            again drop out, and the log's head is noted: it has all that the others ever counted
 * waiting    until the ledger has the log up to that head
 * dying      those that still have LEAVING become DEAD and leave their chains
 * draining   until all threads are out that may stand on a dead slot; then the slots are free
 *
 * Nothing blocks: each step does a bounded piece of it.
 */
type State = "resting" | "choosing" | "settling" | "waiting" | "dying" | "draining";

const BATCH_MAX = 2 ** 16;
/** Slots looked at in one step: about a millisecond. */
const SWEEP = 2 ** 14;
/** Slots taken out of their chains in one step; each may miss the cache a few times. */
const DEATHS = 2 ** 12;
/**
 * What is kept free for those that come while others leave: a tenth, of a large table less. Who comes back to a counter that
 * has left waits for the ledger, which costs what ten adds cost, so none leaves for room that is not needed.
 */
const ROOM_SHARE = 0.1;
const ROOM_MAX = BATCH_MAX;
/** After two rounds of the clock in which nothing could leave. */
const RETRY_MS = 50;

/** 0 while there is room, then as many as make it twice the room. */
function surplusOf(used: number, max: number): number {
  const room = Math.min(ROOM_SHARE * max, ROOM_MAX);
  return used <= max - room ? 0 : used - (max - 2 * room);
}

/** Lets counters go that the ledger has, so that others find room. Main only. */
export class Leaving {
  private readonly table: CounterTable;
  private readonly positions: LogPositions;
  private state: State = "resting";
  private hand = 0;
  private swept = 0;
  private goal = 0;
  private batch: number[] = [];
  private dead: number[] = [];
  private epoch = 0;
  private head = 0;
  private retryAtMs = 0;

  constructor(table: CounterTable, positions: LogPositions) {
    this.table = table;
    this.positions = positions;
  }

  /** One bounded piece of work; true when the next should follow soon (claimers wait or the table is filling up). */
  step(nowMs: number): boolean {
    switch (this.state) {
      case "resting":
        if (nowMs < this.retryAtMs) return false;
        this.goal = this.tooMany();
        if (this.goal === 0) return false;
        this.swept = 0;
        this.state = "choosing";
        return true;
      case "choosing":
        this.choose(nowMs);
        return this.retryAtMs <= nowMs;
      case "settling":
        if (this.table.threads.quiet(this.epoch)) this.settle();
        return true;
      case "waiting":
        if (this.positions.applied() < this.head) return this.pressed();
        // Loaders that asked the ledger before this moment must ask again.
        Atomics.add(this.table.control, DEPARTURES, 1);
        this.state = "dying";
        return true;
      case "dying":
        this.die();
        return true;
      case "draining":
        if (this.table.threads.quiet(this.epoch)) this.free();
        return true;
    }
  }

  /** How many counters should go now. */
  private tooMany(): number {
    const { counters, countersMax, slotsUsed, slotsMax } = this.table.stats();
    const surplus = Math.max(surplusOf(counters, countersMax), surplusOf(slotsUsed, slotsMax));
    if (surplus === 0 && !this.pressed()) return 0;
    return Math.min(BATCH_MAX, Math.max(1, Math.ceil(surplus)));
  }

  private pressed(): boolean {
    return Atomics.load(this.table.control, PRESSURE) !== 0;
  }

  private choose(nowMs: number): void {
    const { words } = this.table.slots;
    const end = Atomics.load(this.table.control, FRESH);
    for (let left = Math.min(SWEEP, 2 * end - this.swept); left > 0 && this.batch.length < this.goal; left--) {
      const slot = this.hand < end ? this.hand : 0;
      this.hand = slot + 1;
      this.swept++;
      const at = wordOf(slot);
      const meta = words[at + META] as number;
      if ((meta & (LIVE | LEAVING | DEAD | OWNER)) !== LIVE) continue;
      if (!this.table.touched.take(slot) && this.table.slots.isClean(slot)) {
        if (Atomics.compareExchange(words, at + META, meta, meta | LEAVING) === meta) this.batch.push(slot);
      }
    }
    if (this.batch.length < this.goal && this.swept < 2 * end) return;
    if (this.batch.length === 0) {
      this.retryAtMs = nowMs + RETRY_MS;
      this.state = "resting";
      return;
    }
    this.epoch = this.table.threads.advance();
    this.state = "settling";
  }

  private settle(): void {
    this.batch = this.batch.filter((slot) => {
      if ((this.table.slots.meta(slot) & LEAVING) === 0) return false;
      if (this.table.slots.isClean(slot)) return true;
      this.callOff(slot);
      return false;
    });
    this.head = this.positions.logHead();
    this.state = "waiting";
  }

  private die(): void {
    const { words } = this.table.slots;
    for (let left = DEATHS; left > 0; left--) {
      const slot = this.batch.pop();
      if (slot === undefined) {
        this.epoch = this.table.threads.advance();
        this.state = "draining";
        return;
      }
      const at = wordOf(slot);
      const meta = words[at + META] as number;
      if ((meta & (LEAVING | OWNER)) !== LEAVING) continue;
      if (Atomics.compareExchange(words, at + META, meta, (meta & ~LEAVING) | DEAD) !== meta) continue;
      this.table.chains.unlink(slot);
      this.dead.push(slot);
    }
  }

  private free(): void {
    const { pool, chains, slots } = this.table;
    for (const slot of this.dead) {
      const tail = chains.tail(slot);
      Atomics.store(slots.words, wordOf(slot) + META, 0);
      for (const rest of tail) Atomics.store(slots.words, wordOf(rest) + META, 0);
      pool.giveBack(slot);
      for (const rest of tail) pool.giveBack(rest);
      pool.unreserve();
    }
    if (this.dead.length > 0) Atomics.store(this.table.control, PRESSURE, 0);
    this.dead = [];
    this.state = "resting";
  }

  private callOff(slot: number): void {
    const { words } = this.table.slots;
    const at = wordOf(slot) + META;
    for (;;) {
      const meta = Atomics.load(words, at);
      if (Atomics.compareExchange(words, at, meta, meta & ~LEAVING) === meta) return;
    }
  }
}
