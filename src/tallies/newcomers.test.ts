import { describe, expect, test } from "bun:test";
import { random } from "../../test/support/random.ts";
import { Newcomers, NewcomersKeeper } from "./newcomers.ts";

const SLOTS = 20_000;

function all(newcomers: Newcomers): number[] {
  const found = new Set<number>();
  newcomers.visit((slot) => found.add(slot));
  return [...found].sort((a, b) => a - b);
}

/** Threads that are quiet when the test says so, and a log that the ledger follows. */
function world() {
  const newcomers = new Newcomers(Newcomers.allocate(SLOTS), SLOTS);
  const log = { head: 0, applied: 0 };
  const threads = { isQuiet: true, advance: () => 1, quiet: () => threads.isQuiet };
  const positions = { logHead: () => log.head, applied: () => log.applied };
  return { newcomers, log, threads, keeper: new NewcomersKeeper(newcomers, threads, positions) };
}

describe("newcomers", () => {
  test("are those that were marked, in every thread, the last slot too", () => {
    const memory = Newcomers.allocate(SLOTS);
    const [one, other] = [new Newcomers(memory, SLOTS), new Newcomers(memory, SLOTS)];
    expect(one.hasAny).toBeFalse();
    const marked = new Set([0, 31, 32, 4095, 4096, SLOTS - 1]);
    const chance = random(3);
    while (marked.size < 500) marked.add(chance.below(SLOTS));
    for (const slot of marked) one.mark(slot);
    expect(all(other)).toEqual([...marked].sort((a, b) => a - b));
    expect(other.hasAny).toBeTrue();
  });

  test("stay until a flush that began when all were out is in the ledger", () => {
    const { newcomers, log, threads, keeper } = world();
    newcomers.mark(7);
    threads.isQuiet = false;
    const early = keeper.flushing(); // somebody may have marked and not yet added
    log.head = log.applied = 10;
    early();
    keeper.step();
    expect(all(newcomers)).toEqual([7]);
    newcomers.mark(8); // into the other set
    threads.isQuiet = true;
    const flushed = keeper.flushing();
    keeper.step();
    expect(all(newcomers)).toEqual([7, 8]);
    log.head = 20;
    flushed();
    keeper.step(); // the ledger has only what was there before
    expect(all(newcomers)).toEqual([7, 8]);
    log.applied = 20;
    keeper.step();
    expect(all(newcomers)).toEqual([8]);
  });

  test("stay where the log refuses the flush", () => {
    const { newcomers, log, keeper } = world();
    newcomers.mark(7);
    keeper.flushing(); // never told that it is done
    log.head = log.applied = 5;
    for (let i = 0; i < 3; i++) keeper.step();
    expect(all(newcomers)).toEqual([7]);
    keeper.flushing()();
    keeper.step();
    expect(all(newcomers)).toEqual([]);
  });

  test("marked again while their set is frozen stay for the next round", () => {
    const { newcomers, log, keeper } = world();
    for (let round = 1; round < 6; round++) {
      newcomers.mark(7);
      const flushed = keeper.flushing();
      newcomers.mark(7); // left the table, came back and rose again
      log.head = round;
      flushed();
      log.applied = round;
      keeper.step();
      expect(all(newcomers)).toEqual([7]);
    }
  });
});
