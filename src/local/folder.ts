import { mkdirSync } from "node:fs";
import { EXIT, isSystemError, StartError } from "../errors.ts";

/** Makes the data directory where there is none, and takes (`take`) its lock. Throws StartError where it cannot. */
export function takeFolder<T>(folder: string, take: (folder: string) => T): T {
  try {
    mkdirSync(folder, { recursive: true });
    return take(folder);
  } catch (error) {
    if (error instanceof StartError) throw error;
    const reason = error instanceof Error ? error.message : error;
    throw new StartError(`the data directory ${folder} cannot be written: ${reason}; choose another with --data`);
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
