import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { StoredMetric } from "../ports/metric-numbers.ts";

/** What a node must know of the stores to count while they are away, kept in the data directory. */
interface Remembered {
  metrics: StoredMetric[];
  partitions: number;
}

const NAME = "cluster.json";

/** Null where this directory has never been part of a cluster. */
export function readRemembered(folder: string): Remembered | null {
  const path = join(folder, NAME);
  if (!existsSync(path)) return null;
  return JSON.parse(readFileSync(path, "utf8")) as Remembered;
}

export function writeRemembered(folder: string, remembered: Remembered): void {
  const path = join(folder, NAME);
  writeFileSync(`${path}.new`, JSON.stringify(remembered));
  renameSync(`${path}.new`, path);
}
