import type { Settings } from "../config.ts";
import type { Metric } from "../model.ts";
import type { NodePart } from "../ports/node.ts";

/** The server's state as every thread may tell it. */
export interface Health {
  status: "starting" | "ready" | "degraded" | "draining" | "unable";
  parts: Record<string, NodePart>;
}

/** What a worker gets to begin with. */
export interface WorkerData {
  /** From 0. */
  index: number;
  settings: Settings;
  metrics: Metric[];
  health: Health;
  /** The port that all workers share; 0: the first one picks it. */
  port: number;
  requestStats: SharedArrayBuffer;
  /** What open.ts made for this thread. */
  share: unknown;
}

export type ToWorker =
  | { kind: "answer"; id: number; text: string | null }
  | { kind: "settings"; settings: Settings; metrics: Metric[] }
  | { kind: "health"; health: Health }
  | { kind: "drain" };

/** `/metrics`, or `/v1/stats`. */
export type Scraped = "metrics" | "stats";

export type FromWorker =
  | { kind: "listening"; url: string; port: number }
  /** It has the settings it was sent. */
  | { kind: "configured" }
  | { kind: "scrape"; id: number; what: Scraped }
  | { kind: "press" }
  | { kind: "drained" };
