import type { Stamp } from "./stamp.ts";

/**
 * A place in a list, newest first. Acts that the clock stamps never share a stamp, but those that come with a time of their
 * own do: all likes of an old table may be of one midnight. So ids, by their bytes, decide between equal stamps, in every
 * store and in every page, and nothing at a page's edge is met twice or never.
 */
export interface Place {
  stamp: Stamp;
  /** An actor or a subject. Empty: behind every item of that stamp. */
  id: string;
}

/** Above every item. */
export const TOP: Place = { stamp: Number.MAX_SAFE_INTEGER, id: "" };

/** For `sort`: the newest first. */
export function newestFirst(a: Place, b: Place): number {
  return b.stamp - a.stamp || compareBytes(b.id, a.id);
}

/** Whether the item comes behind the place. */
export function isBehind(item: Place, place: Place): boolean {
  return newestFirst(place, item) < 0;
}

/** As the stores order ids. JavaScript's own order is that of UTF-16, which differs above U+FFFF. */
export function compareBytes(a: string, b: string): number {
  return a === b ? 0 : Buffer.compare(Buffer.from(a), Buffer.from(b));
}
