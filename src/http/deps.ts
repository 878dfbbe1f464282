import type { Counting } from "../ports/counting.ts";
import type { RequestStats } from "../telemetry/requests.ts";
import type { Catalog } from "./catalog.ts";
import type { Rules } from "./rules.ts";

/** What the handlers of subjects and actors work with. */
export interface HandlerDeps {
  catalog: Catalog;
  counting: Counting;
  /** Which events of a tally are left out. */
  rules: Rules;
  stats: RequestStats;
}
