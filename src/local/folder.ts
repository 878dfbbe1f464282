import { existsSync, mkdirSync } from "node:fs";
import { EXIT, isSystemError, StartError } from "../errors.ts";
import { log } from "../telemetry/log.ts";
import { agreedFileOf, filesOf } from "./files.ts";

type Deployment = "embedded" | "cluster";

/**
 * Makes the data directory where there is none, and takes (`take`) its lock. Throws StartError where it cannot, and where the
 * directory is a node's and no cluster's stores are given: a server would find nothing of its own there, and show zeros.
 */
export function takeFolder<T>(folder: string, deployment: Deployment, take: (folder: string) => T): T {
  // Before the lock: beside a node that runs, too, this is what a person has to know.
  lookForOther(folder, deployment);
  try {
    mkdirSync(folder, { recursive: true });
    return take(folder);
  } catch (error) {
    if (error instanceof StartError) throw error;
    const reason = error instanceof Error ? error.message : error;
    throw new StartError(`the data directory ${folder} cannot be written: ${reason}; choose another with --data`);
  }
}

function lookForOther(folder: string, deployment: Deployment): void {
  const isNodes = existsSync(agreedFileOf(folder));
  if (deployment === "embedded" && isNodes) {
    throw new StartError(
      `${folder} is the data directory of a cluster's node, and --redis-url, --kafka-brokers and --mysql-url are missing: ` +
        "give them, or choose another with --data",
    );
  }
  // Said once: as soon as the node has agreed with the others, the directory is a node's, too.
  if (deployment === "cluster" && !isNodes && existsSync(filesOf(folder).ledger)) {
    log.warn(
      "a server without a cluster has counted in this data directory, and a node shows nothing of that: bring it over with " +
        "`tally export` from a copy of the directory's ledger.db, and `tally import` into the cluster",
      { data: folder },
    );
  }
}

/** Runs a start that uses the data directory: what the system refuses there is the outside's to mend. */
export async function inFolder<T>(folder: string, start: () => Promise<T>): Promise<T> {
  try {
    return await start();
  } catch (error) {
    if (!isSystemError(error)) throw error;
    throw new StartError(`the data directory ${folder} cannot be used: ${error.message}`, EXIT.unavailable);
  }
}
