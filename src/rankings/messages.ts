import type { TopList } from "../ports/rankings.ts";

/** A list, as asked for and told between threads. */
export interface ListName {
  metric: number;
  type: string;
  /** Its place in WINDOWS. */
  window: number;
}

/** From a request thread to the ranker: for some time this list is wanted. */
export type ToRanker = ListName;

/** `list`: as it is now. `current`: all lists told so far are as they are now, but for those told since. */
export type FromRanker = { kind: "list"; name: ListName; list: TopList } | { kind: "current" };

export function keyOf({ metric, type, window }: ListName): string {
  return `${window} ${metric} ${type}`;
}
