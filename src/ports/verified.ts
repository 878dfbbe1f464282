/** What one look at everything found. */
export interface Verified {
  differences: number;
  mended: number;
  /** Counts that were compared. */
  counters: number;
  /** Rows of the ledger that the filters, which say "never", were asked for. */
  registers: number;
  /** Frames of the log that were read; 0 in a cluster, where the log is Kafka's. */
  frames: number;
}

/** Says one difference: which copy, which key, what it has and what it should have. */
export type Say = (text: string, isMended: boolean) => void;
