import { parentPort } from "node:worker_threads";
import type { LogMessage, StoreName } from "./messages.ts";

/** The log thread to main. */
export function tell(message: LogMessage): void {
  parentPort?.postMessage(message);
}

/** `problem`: why it is away, or null. */
export function tellStore(name: StoreName, problem: string | null): void {
  tell({ kind: "store", name, state: { isUp: problem === null, detail: problem ?? "" } });
}

let diskTrouble: string | null = null;

/** Only what is news. */
export function tellDisk(trouble: string | null): void {
  if (trouble !== diskTrouble) tell({ kind: "disk", trouble });
  diskTrouble = trouble;
}

/** What only a bug, a broken disk or a topic that is another one can do: the process must end, and the next start reads what is on the disk. */
export function fatal(error: unknown): never {
  setTimeout(() => {
    throw error;
  }, 0);
  throw error;
}
