import type { StoredMetric } from "../ports/metric-numbers.ts";

/**
 * What every node must agree on to write records that the others read as it meant them. The ledger gives the metrics their
 * numbers, and never changes one; how many partitions there are the topic says. Each node keeps a copy in its data directory
 * and one in Redis, and the ledger has the partitions, so that a node can start while one of them is away.
 */
export interface Agreed {
  /** Of the ledger that gave the numbers; empty where a copy does not say. Another ledger may give others. */
  incarnation: string;
  /** All that the ledger has numbered, also what no settings name any more. */
  metrics: StoredMetric[];
  partitions: number;
}
