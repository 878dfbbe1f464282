import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { agreedFileOf } from "../local/files.ts";
import type { Agreed } from "./agreed.ts";

/** What this node has agreed on before; null where this directory has never been part of a cluster. */
export function readRemembered(folder: string): Agreed | null {
  const path = agreedFileOf(folder);
  if (!existsSync(path)) return null;
  const {
    incarnation = "",
    metrics,
    partitions,
  } = JSON.parse(readFileSync(path, "utf8")) as Partial<Agreed> & Omit<Agreed, "incarnation">;
  return { incarnation, metrics, partitions };
}

export function writeRemembered(folder: string, agreed: Agreed): void {
  const path = agreedFileOf(folder);
  writeFileSync(`${path}.new`, JSON.stringify(agreed));
  renameSync(`${path}.new`, path);
}
