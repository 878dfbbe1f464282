import { join } from "node:path";

/** The files of a data directory. */
export function filesOf(folder: string) {
  return {
    ledger: join(folder, "ledger.db"),
    log: join(folder, "log"),
    counters: join(folder, "counters.tally"),
    visitors: join(folder, "visitors.tally"),
    socket: join(folder, "tally.sock"),
  };
}

export type Files = ReturnType<typeof filesOf>;
