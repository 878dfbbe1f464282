import { join } from "node:path";
import { type Files, filesOf } from "../local/files.ts";

/** A directory that served one machine alone may become a node's: what is in it then stays as it is. */
export function clusterFilesOf(folder: string): Files {
  return {
    ...filesOf(folder),
    log: join(folder, "outbox"),
    counters: join(folder, "node.tally"),
    visitors: join(folder, "node-visitors.tally"),
  };
}
