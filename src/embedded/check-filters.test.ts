import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { filledLedger } from "../../test/support/filled-ledger.ts";
import { checkLedger } from "./check.ts";
import { FilterCheck, type FilterDifference } from "./check-filters.ts";
import { type FilterShare, Filters } from "./filters.ts";
import { openWriting, SqliteLedgerWriter } from "./ledger.ts";
import { shareLedger } from "./open-ledger.ts";

const NOW_MS = Date.UTC(2026, 10, 20, 12);
/** For the projector of these tests, which is this thread: it has begun before anybody waits for it. */
const AT_ONCE_MS = 0;
let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tally-filters-"));
  path = join(folder, "ledger.db");
});
afterEach(() => rmSync(folder, { recursive: true }));

function check(share: FilterShare): FilterDifference[] {
  const one = new FilterCheck(path, share);
  try {
    return [...one.run()];
  } finally {
    one.close();
  }
}

/** Whose bits are all gone. */
function empty(share: FilterShare, kind: "segment" | "group", index: number): void {
  new Filters(share).bitsOf(kind, index).fill(0);
}

function open(share: FilterShare): SqliteLedgerWriter {
  return new SqliteLedgerWriter(path, share, { segmentRows: 40 });
}

function settle(writer: SqliteLedgerWriter): void {
  while (writer.tidy(NOW_MS));
}

describe("a check of the filters", () => {
  test("finds nothing in those that are new, half filled, full, and kept", () => {
    const { rows, share } = filledLedger(path, { segmentRows: 40 });
    const asked = new FilterCheck(path, share);
    expect([[...asked.run()], asked.rows >= rows]).toEqual([[], true]);
    asked.close();
    const again = shareLedger(path, 3);
    const writer = open(again);
    for (let isMore = true; isMore; isMore = writer.tidy(NOW_MS)) expect(check(again)).toEqual([]);
    expect(new Filters(again).incomplete()).toEqual([]);
    writer.close();
    expect(check(shareLedger(path))).toEqual([]);
  });

  test.each(["segment", "group"] as const)("names each register that a %s in memory denies", (kind) => {
    const { share, registersOf } = filledLedger(path, { segmentRows: 40 });
    const filters = new Filters(share);
    empty(share, kind, 0);
    const found = check(share);
    const denied = kind === "segment" ? registersOf(0) : registersOf(0, filters.segmentCount - 1);
    expect(denied.length).toBeGreaterThan(20);
    const name = ({ metric, subject, actor }: { metric: number; subject: string; actor: string }) =>
      `${metric} ${subject} ${actor}`;
    expect(found.every((each) => each.what === "filter" && each.copy === "memory")).toBe(true);
    expect(found.map((each) => name(each as Extract<FilterDifference, { what: "filter" }>)).sort()).toEqual(
      denied.map(name).sort(),
    );
  });

  test("says nothing of one that is not complete", () => {
    const { share } = filledLedger(path, { segmentRows: 40 });
    const again = shareLedger(path, 5);
    expect(new Filters(again).incomplete().length).toBe(new Filters(share).segmentCount);
    for (let segment = 0; segment < new Filters(again).segmentCount; segment++) empty(again, "segment", segment);
    empty(again, "group", 0);
    expect(check(again)).toEqual([]);
  });

  test.each(["segment", "group"])("sees what the next start would believe of a %s", (kind) => {
    const { share } = filledLedger(path, { segmentRows: 40 });
    const db = openWriting(path);
    db.run(`UPDATE filter_parts SET bits = zeroblob(length(bits)) WHERE kind = '${kind}' AND number = 0`);
    db.close(true);
    const found = check(share);
    expect(found.length).toBeGreaterThan(20);
    expect(found.every((each) => each.what === "filter" && each.copy === "ledger")).toBe(true);
    const next = shareLedger(path);
    const writer = open(next);
    settle(writer);
    expect(check(next).filter((each) => each.what === "filter" && each.copy === "memory").length).toBe(found.length);
    writer.close();
  });

  test("names what the counts' filter denies, once each", () => {
    const { share, counts } = filledLedger(path, { segmentRows: 40 });
    // Its layers lie behind and between those of the segments, which are not looked at here.
    new Int32Array(share.bits).fill(0);
    const found = check(share).filter(({ what }) => what === "counts' filter");
    expect(found.map(({ metric, subject }) => `${metric} ${subject}`).sort()).toEqual([...counts].sort());
  });

  test("leaves a damaged file to the check of the ledger", () => {
    const { share } = filledLedger(path, { segmentRows: 40 });
    const bytes = readFileSync(path);
    writeFileSync(path, bytes.fill(7, 2 * 16384));
    expect([check(share), [...checkLedger(path)][0]]).toEqual([[], expect.objectContaining({ what: "file" })]);
  });

  test("of many names the first hundred of each", () => {
    const { share } = filledLedger(path, { segmentRows: 400 });
    new Int32Array(share.bits).fill(0);
    const ofFirst = check(share).filter((each) => each.what === "filter" && each.segment === 0);
    expect(ofFirst.map(({ isLast }) => isLast)).toEqual([...Array(99).fill(false), true]);
  });

  test("what lacked something is believed by nobody, now or at the next start, and filled again", () => {
    filledLedger(path, { segmentRows: 40 });
    const share = shareLedger(path, 3);
    const writer = open(share);
    settle(writer);
    const db = openWriting(path);
    db.run("UPDATE filter_parts SET bits = zeroblob(length(bits))");
    db.close(true);
    const filters = new Filters(share);
    new Int32Array(share.bits).fill(0);
    expect(new Set(check(share).map(({ what }) => what))).toEqual(new Set(["filter", "counts' filter"]));
    expect(new Filters(share).refill(AT_ONCE_MS)).toBe(false);
    writer.tidy(NOW_MS, true);
    expect([filters.refillAsked, filters.incomplete().length]).toEqual([null, filters.segmentCount]);
    expect([check(share), check(shareLedger(path))]).toEqual([[], []]);
    while (writer.tidy(NOW_MS)) expect(check(share)).toEqual([]);
    expect([filters.incomplete(), filters.areCountsComplete, check(share)]).toEqual([[], true, []]);
    filters.aim("nobody", "article/none");
    expect([filters.nextHolding(0), filters.mayCount(1, "article/none")]).toEqual([-1, false]);
    writer.close();
    const next = shareLedger(path);
    expect([new Filters(next).incomplete(), check(next)]).toEqual([[filters.segmentCount - 1], []]);
  });
});
