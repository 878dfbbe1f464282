import type { Bench } from "./bench.ts";
import type { Finding } from "./finding.ts";

/** A part of the bench that can be measured on its own. */
export interface Row {
  /** For `--only`. */
  readonly name: string;
  measure(bench: Bench): Promise<readonly Finding[]>;
}
