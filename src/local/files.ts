import { join } from "node:path";

/** A node's copy of what all nodes of its cluster agree on. Only nodes have it, each before it counts. */
export function agreedFileOf(folder: string): string {
  return join(folder, "cluster.json");
}

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
