import { expect, test } from "bun:test";
import { random } from "../../test/support/random.ts";
import { isBehind, newestFirst, type Place } from "../arithmetic/place.ts";
import { isActive } from "../arithmetic/stamp.ts";
import { listPage } from "./lists.ts";

/** Pages through a list of which each register is in the ledger, on its way, or both. */
test("paging gives every active register once, newest first, wherever its newest stamp is", () => {
  for (let seed = 1; seed <= 200; seed++) {
    const { below, chance } = random(seed);
    const ledger = new Map<string, number>();
    const overlay = new Map<string, number>();
    // Some share their stamp, as acts do that come with a time.
    const stamps = Array.from({ length: 120 }, (_, i) => 2 * (1 + i - (i % (1 + (seed % 4)))) + below(2));
    for (const stamp of stamps) {
      const id = `u${below(60)}`;
      // What is on its way came after what the ledger has, so its stamp is higher.
      const known = Math.max(ledger.get(id) ?? 0, overlay.get(id) ?? 0);
      if (stamp <= known) continue;
      if (stamp < 150 || chance(0.3)) {
        if (!overlay.has(id)) ledger.set(id, stamp);
      } else overlay.set(id, stamp);
    }
    const rows = (before: Place, limit: number): Place[] =>
      Array.from(ledger, ([id, stamp]) => ({ id, stamp }))
        .filter((row) => isActive(row.stamp) && isBehind(row, before))
        .sort(newestFirst)
        .slice(0, limit);
    const onTheWay = Array.from(overlay, ([id, stamp]) => ({ id, stamp })).sort(newestFirst);
    const expected = Array.from(new Map([...ledger, ...overlay]), ([id, stamp]) => ({ id, stamp }))
      .filter(({ stamp }) => isActive(stamp))
      .sort((a, b) => b.stamp - a.stamp || (a.id < b.id ? 1 : -1));

    const limit = 1 + below(30);
    const got: Place[] = [];
    let before: Place | undefined;
    for (let pages = 0; ; pages++) {
      expect(pages).toBeLessThan(200);
      const page = listPage(onTheWay, before === undefined ? { limit } : { limit, before }, rows);
      got.push(...page.items.map(({ id, stamp }) => ({ id, stamp })));
      if (!page.more) break;
      before = page.items.at(-1);
    }
    expect(got).toEqual(expected);
  }
});

test("a row that the ledger took over while we looked is listed once, with its newer state", () => {
  const rows = (before: Place): Place[] =>
    [
      { id: "x", stamp: 9 },
      { id: "y", stamp: 3 },
    ].filter((row) => isBehind(row, before));
  const page = listPage([{ id: "x", stamp: 7 }], { limit: 10 }, rows);
  expect(page.items.map(({ id, stamp }) => [id, stamp])).toEqual([
    ["x", 9],
    ["y", 3],
  ]);
});
