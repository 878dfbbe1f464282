import type { Counting } from "../ports/counting.ts";
import type { RequestStats } from "../telemetry/requests.ts";
import type { Catalog } from "./catalog.ts";

/** What the handlers of subjects and actors work with. */
export interface HandlerDeps {
  catalog: Catalog;
  counting: Counting;
  stats: RequestStats;
}
