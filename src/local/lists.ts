import { isBehind, newestFirst, type Place, TOP } from "../arithmetic/place.ts";
import { isActive, msOf } from "../arithmetic/stamp.ts";
import type { ListItem, ListPage, ListQuery } from "../ports/counting.ts";

/**
 * One page of a list, newest first (`newestFirst`): what is on its way merged with what the ledger has.
 *
 * `onTheWay` holds every register of the list that is in the overlay, whatever its stamp: one whose newest stamp is above
 * the cursor, or inactive, must hide its older row in the ledger. `rows(before, limit)` reads active rows of one ledger
 * snapshot, which was taken after the overlay was read.
 */
export function listPage(
  onTheWay: Place[],
  query: ListQuery,
  rows: (before: Place, limit: number) => Place[],
): ListPage {
  const before = query.before ?? TOP;
  const newest = new Map(onTheWay.map((row) => [row.id, row.stamp]));
  const waiting = onTheWay.filter((row) => isActive(row.stamp) && isBehind(row, before));
  const items: ListItem[] = [];
  const wanted = query.limit + 1; // one more says whether there is more
  let next = 0;
  // The ledger may have a newer state of what is on its way, as it was read later: the newer one comes first and stays.
  const taken = new Set<string>();
  const take = ({ id, stamp }: Place) => {
    if (taken.has(id)) return;
    taken.add(id);
    items.push({ id, at: msOf(stamp), stamp });
  };

  let from = before;
  for (;;) {
    const batch = rows(from, wanted);
    for (const row of batch) {
      for (
        let ahead = waiting[next];
        ahead && newestFirst(ahead, row) < 0 && items.length < wanted;
        ahead = waiting[next]
      ) {
        take(ahead);
        next++;
      }
      if (items.length >= wanted) break;
      const hidden = newest.get(row.id);
      if (hidden === undefined || row.stamp > hidden) take(row);
    }
    if (items.length >= wanted || batch.length < wanted) break;
    from = batch.at(-1) as Place;
  }
  while (items.length < wanted && next < waiting.length) take(waiting[next++] as Place);
  return { items: items.slice(0, query.limit), more: items.length > query.limit };
}
