import { existsSync, mkdirSync } from "node:fs";
import { EXIT, isSystemError, StartError } from "../errors.ts";
import { agreedFileOf, filesOf } from "./files.ts";

type Deployment = "embedded" | "cluster";

/**
 * Makes the data directory where there is none, and takes (`take`) its lock. Throws StartError where it cannot, and where the
 * directory is of the other deployment: that one would find nothing of its own there, and show zeros.
 */
export function takeFolder<T>(folder: string, deployment: Deployment, take: (folder: string) => T): T {
  // Before the lock: beside a node that runs, too, this is what a person has to know.
  refuseOther(folder, deployment);
  try {
    mkdirSync(folder, { recursive: true });
    return take(folder);
  } catch (error) {
    if (error instanceof StartError) throw error;
    const reason = error instanceof Error ? error.message : error;
    throw new StartError(`the data directory ${folder} cannot be written: ${reason}; choose another with --data`);
  }
}

function refuseOther(folder: string, deployment: Deployment): void {
  const isNodes = existsSync(agreedFileOf(folder));
  if (deployment === "embedded" && isNodes) {
    throw new StartError(
      `${folder} is the data directory of a cluster's node, and --redis-url, --kafka-brokers and --mysql-url are missing: ` +
        "give them, or choose another with --data",
    );
  }
  // A node's that has a ledger as well goes on: its outbox may hold what nobody else has.
  if (deployment === "cluster" && !isNodes && existsSync(filesOf(folder).ledger)) {
    throw new StartError(
      `${folder} is the data directory of a server without a cluster, and a node would show nothing of it: choose another ` +
        "with --data, and bring over what was counted with `tally export` from this one and `tally import` into the cluster",
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
