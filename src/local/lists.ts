import { isActive, msOf, type Stamp } from "../arithmetic/stamp.ts";
import type { ListItem, ListPage, ListQuery } from "../ports/counting.ts";

/** A register in a list: whose it is and its stamp. */
export interface Row {
  id: string;
  stamp: Stamp;
}

/**
 * One page of a list, newest first: what is on its way merged with what the ledger has.
 *
 * `onTheWay` holds every register of the list that is in the overlay, whatever its stamp: one whose newest stamp is above
 * the cursor, or inactive, must hide its older row in the ledger. `rows(before, limit)` reads active rows of one ledger
 * snapshot, which was taken after the overlay was read.
 */
export function listPage(onTheWay: Row[], query: ListQuery, rows: (before: Stamp, limit: number) => Row[]): ListPage {
  const before = query.before ?? Number.MAX_SAFE_INTEGER;
  const newest = new Map(onTheWay.map((row) => [row.id, row.stamp]));
  const waiting = onTheWay.filter((row) => row.stamp < before && isActive(row.stamp));
  const items: ListItem[] = [];
  const wanted = query.limit + 1; // one more says whether there is more
  let next = 0;
  // The ledger may have a newer state of what is on its way, as it was read later: the newer one comes first and stays.
  const taken = new Set<string>();
  const take = ({ id, stamp }: Row) => {
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
        ahead && ahead.stamp > row.stamp && items.length < wanted;
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
    from = (batch.at(-1) as Row).stamp;
  }
  while (items.length < wanted && next < waiting.length) take(waiting[next++] as Row);
  return { items: items.slice(0, query.limit), more: items.length > query.limit };
}
