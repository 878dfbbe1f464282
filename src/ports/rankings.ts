import type { WindowName } from "../arithmetic/windows.ts";
import type { Metric } from "../model.ts";

/** The first 100 of a window, and what the window is: seconds since 1970. */
export interface TopList {
  from: number;
  to: number;
  /** By how much a value may be off; 0: all are right. */
  error: number;
  items: { subject: string; value: number }[];
}

/**
 * Promises:
 * - a list is whole, of the window it names, and not more than two seconds behind while nothing is overloaded;
 * - `unavailable` where there is none that young: at the start, until all changes have been read again.
 */
export interface Rankings {
  top(metric: Metric, type: string, window: WindowName): TopList | Promise<TopList>;
}
