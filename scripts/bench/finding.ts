import type { Summary } from "./summary.ts";

/** A bound of the project and the value measured against it. */
export interface Goal {
  readonly name: string;
  readonly unit: "" | "%" | "ms" | "s" | "MB" | "GB";
  readonly bound: number;
  readonly is: "at least" | "at most";
  readonly value: number;
  readonly met: boolean;
}

/** One line of the report. */
export interface Finding {
  readonly what: string;
  readonly goals: readonly Goal[];
  readonly tally?: Summary;
  /** What it was compared with. */
  readonly against?: { readonly name: string; readonly summary: Summary };
  /** What else was seen; goes into the JSON. */
  readonly facts?: Readonly<Record<string, unknown>>;
}

export function atLeast(name: string, bound: number, value: number): Goal {
  return { name, unit: "", bound, is: "at least", value, met: value >= bound };
}

export function atMost(name: string, bound: number, unit: Goal["unit"], value: number): Goal {
  return { name, unit, bound, is: "at most", value, met: value <= bound };
}
