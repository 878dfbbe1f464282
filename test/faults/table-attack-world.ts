import { random } from "../support/random.ts";

/** What the threads of the attack share beside the table: a log, a ledger, and what is true. */
export interface World {
  control: SharedArrayBuffer;
  log: SharedArrayBuffer;
  ledger: SharedArrayBuffer;
  truth: SharedArrayBuffer;
}

export const VIEWS = 1;
export const LIKES = 2;
/** Ten times the counters that fit. The last fifth are relations, which only the writer changes. */
export const COUNTERS_MAX = 1_000;
export const TALLY_KEYS = 8_000;
export const KEYS = 10_000;

/** Tallies that are always added to by a million, so that their words go round. The writer adds to their bases too. */
export const HEAVY_KEYS = 8;

/** Words of `control`. */
export const STOP = 0;
export const HEAD = 1;
export const APPLIED = 2;
export const LOCK = 3;
/** From here two words for each thread: the key (+ 1) it is about to add to, and by how much. */
export const INTENT = 16;

const LOG_ENTRIES = 2 ** 20;

export const metricOf = (key: number): number => (key < TALLY_KEYS ? VIEWS : LIKES);

/** Every third key needs more than one slot. */
export const SUBJECTS: readonly string[] = Array.from({ length: KEYS }, (_, key) =>
  key % 3 === 0 ? `article/${key}-`.padEnd(45 + ((key * 7) % 116), "x") : `article/${key}`,
);

export const createWorld = (): World => ({
  control: new SharedArrayBuffer(4 * 1024),
  log: new SharedArrayBuffer(8 * LOG_ENTRIES),
  ledger: new SharedArrayBuffer(8 * KEYS),
  truth: new SharedArrayBuffer(8 * KEYS),
});

export class WorldView {
  readonly control: Int32Array;
  private readonly ledger: BigInt64Array;
  private readonly truth: BigInt64Array;
  private readonly log: Int32Array;

  constructor(world: World) {
    this.control = new Int32Array(world.control);
    this.ledger = new BigInt64Array(world.ledger);
    this.truth = new BigInt64Array(world.truth);
    this.log = new Int32Array(world.log);
  }

  get head(): number {
    return Atomics.load(this.control, HEAD);
  }

  get applied(): number {
    return Atomics.load(this.control, APPLIED);
  }

  inLedger(key: number): number {
    return Number(Atomics.load(this.ledger, key));
  }

  inTruth(key: number): number {
    return Number(Atomics.load(this.truth, key));
  }

  addTruth(key: number, delta: number): void {
    Atomics.add(this.truth, key, BigInt(delta));
  }

  /** False when the log has no room: then the ledger must go on first. */
  append(key: number, delta: number): boolean {
    while (Atomics.compareExchange(this.control, LOCK, 0, 1) !== 0);
    const head = this.head;
    const fits = head - this.applied < LOG_ENTRIES;
    if (fits) {
      const at = 2 * (head % LOG_ENTRIES);
      this.log[at] = key;
      this.log[at + 1] = delta;
      Atomics.store(this.control, HEAD, head + 1);
    }
    Atomics.store(this.control, LOCK, 0);
    return fits;
  }

  /** The ledger takes up to `count` entries. */
  apply(count: number): void {
    const from = this.applied;
    const to = Math.min(this.head, from + count);
    for (let position = from; position < to; position++) {
      const at = 2 * (position % LOG_ENTRIES);
      Atomics.add(this.ledger, this.log[at] as number, BigInt(this.log[at + 1] as number));
      Atomics.store(this.control, APPLIED, position + 1);
    }
  }
}

/** Half of all acts fall on one key in fifty; which, moves on with time, so that keys become hot and cold. */
export function keyPicker(seed: number): (from: number, to: number, now: number) => number {
  const rng = random(seed);
  return (from, to, now) => {
    if (from === 0 && rng.chance(0.1)) return rng.below(HEAVY_KEYS);
    const span = to - from;
    if (rng.chance(0.5)) return from + rng.below(span);
    const hot = Math.ceil(span / 50);
    return from + ((Math.floor(now / 200) * hot + rng.below(hot)) % span);
  };
}
