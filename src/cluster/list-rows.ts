import { isBehind, type Place, TOP } from "../arithmetic/place.ts";
import type { ListQuery } from "../ports/counting.ts";

/** So many rows of one ledger snapshot fill the page, however many of them what is on its way hides. */
export function enough(query: ListQuery, onTheWay: readonly Place[]): { before: Place; limit: number } {
  return { before: query.before ?? TOP, limit: query.limit + 1 + onTheWay.length };
}

export function within(rows: Place[]): (before: Place, limit: number) => Place[] {
  return (before, limit) => rows.filter((row) => isBehind(row, before)).slice(0, limit);
}
