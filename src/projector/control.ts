import type { Position } from "../ports/log.ts";

/** The words through which the projector and the other threads of its process talk. */
export interface ProjectorShare {
  /** Where the log ends: stored by its writer. */
  head: SharedArrayBuffer;
  /** Up to where the ledger has it. */
  applied: SharedArrayBuffer;
  /** Up to where the ledger has it on disk: the log may be cut there. */
  durable: SharedArrayBuffer;
  control: SharedArrayBuffer;
}

/** Rung to wake the projector. */
const BELL = 0;
/** Rung after each commit. */
const APPLIED_BELL = 1;
const URGENT = 2;
const STOPPING = 3;
const FAILING = 4;
const LAG_MS = 5;
const LOSSES = 6;
const CONTROL_WORDS = 8;
/** The control buffer's last 8 bytes. */
const STOP_AT = CONTROL_WORDS / 2;

/** One side or the other of it; all methods may be called on any thread, except those that say which. */
export class ProjectorControl {
  readonly share: ProjectorShare;
  #control: Int32Array;
  #stopAt: BigInt64Array;
  #head: BigInt64Array;
  #applied: BigInt64Array;
  #durable: BigInt64Array;

  /** `head` is the log writer's word; the others are made here. */
  static allocate(head: SharedArrayBuffer): ProjectorShare {
    return {
      head,
      applied: new SharedArrayBuffer(8),
      durable: new SharedArrayBuffer(8),
      control: new SharedArrayBuffer((CONTROL_WORDS + 2) * 4),
    };
  }

  constructor(share: ProjectorShare) {
    this.share = share;
    this.#control = new Int32Array(share.control);
    this.#stopAt = new BigInt64Array(share.control, STOP_AT * 8, 1);
    this.#head = new BigInt64Array(share.head);
    this.#applied = new BigInt64Array(share.applied);
    this.#durable = new BigInt64Array(share.durable);
  }

  get head(): Position {
    return Number(Atomics.load(this.#head, 0));
  }

  get applied(): Position {
    return Number(Atomics.load(this.#applied, 0));
  }

  get durable(): Position {
    return Number(Atomics.load(this.#durable, 0));
  }

  /** For how long what was seen in the log has been waiting, 0 where nothing is. */
  get lagMs(): number {
    return Atomics.load(this.#control, LAG_MS);
  }

  /** Whether the ledger cannot be written at the moment. */
  get failing(): boolean {
    return Atomics.load(this.#control, FAILING) === 1;
  }

  /** Gaps found in sources since the start. */
  get losses(): number {
    return Atomics.load(this.#control, LOSSES);
  }

  /** Someone waits for the ledger: the next batch begins at once. */
  urge(): void {
    Atomics.store(this.#control, URGENT, 1);
    this.#ring(BELL);
  }

  /** The projector ends once the ledger has the log up to `at`. */
  stop(at: Position): void {
    Atomics.store(this.#stopAt, 0, BigInt(at));
    Atomics.store(this.#control, STOPPING, 1);
    this.#ring(BELL);
  }

  /** Resolves when the ledger has the log up to `position` (true), or the time is over. Does not block the thread. */
  async untilApplied(position: Position, timeoutMs: number): Promise<boolean> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const rung = Atomics.load(this.#control, APPLIED_BELL);
      if (this.applied >= position) return true;
      const left = deadline - performance.now();
      if (left <= 0) return false;
      this.urge();
      const waited = Atomics.waitAsync(this.#control, APPLIED_BELL, rung, Math.min(left, 1000));
      if (waited.async) await waited.value;
    }
  }

  // The projector only.

  set applied(position: Position) {
    Atomics.store(this.#applied, 0, BigInt(position));
    this.#ring(APPLIED_BELL);
  }

  set durable(position: Position) {
    Atomics.store(this.#durable, 0, BigInt(position));
  }

  set lagMs(ms: number) {
    Atomics.store(this.#control, LAG_MS, Math.min(Math.round(ms), 0x7fffffff));
  }

  set failing(is: boolean) {
    Atomics.store(this.#control, FAILING, is ? 1 : 0);
  }

  addLosses(gaps: number): void {
    Atomics.add(this.#control, LOSSES, gaps);
  }

  /** Where to stop, or null. */
  get stopAt(): Position | null {
    return Atomics.load(this.#control, STOPPING) === 1 ? Number(Atomics.load(this.#stopAt, 0)) : null;
  }

  get isUrgent(): boolean {
    return Atomics.load(this.#control, URGENT) === 1;
  }

  calm(): void {
    Atomics.store(this.#control, URGENT, 0);
  }

  /** To be read before looking at anything else, and given to `sleep`: a ring in between is not missed. */
  get rung(): number {
    return Atomics.load(this.#control, BELL);
  }

  sleep(rung: number, ms: number): void {
    Atomics.wait(this.#control, BELL, rung, ms);
  }

  #ring(bell: number): void {
    Atomics.add(this.#control, bell, 1);
    Atomics.notify(this.#control, bell);
  }
}
