import { join } from "node:path";
import { type Files, filesOf } from "../local/files.ts";

/** Log, counters and visitors have names of their own: none of them may be read as a server's that has no cluster. */
export function clusterFilesOf(folder: string): Files {
  return {
    ...filesOf(folder),
    log: join(folder, "outbox"),
    counters: join(folder, "node.tally"),
    visitors: join(folder, "node-visitors.tally"),
  };
}
