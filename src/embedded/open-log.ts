import { existsSync } from "node:fs";
import { StartError } from "../errors.ts";
import type { Files } from "../local/files.ts";
import { type LogHead, LogWriter, logStart } from "../local/log.ts";
import type { Position } from "../ports/log.ts";

/**
 * Opens the log for the first time (`head` gets its end) and sees that it goes with the ledger, which is at `position`: the log
 * begins there or before, and ends there or behind.
 *
 * A ledger without log and counter file is a restored copy, and its log begins at the ledger's position, as if all before had
 * been trimmed. Not at 0: rows of the ledger (`changes`) are named by positions, which must go on rising. A counter file
 * without a log is a running server's whose log was lost, and may owe what only notes in that log can tell.
 *
 * Before anything else is written: what a killed run owes, appended to a log that is too short, could take it past the
 * ledger's position. Throws StartError where they do not go together.
 */
export function openLog(files: Files, head: LogHead, position: Position): void {
  const start = logStart(files.log);
  if (start === null && existsSync(files.counters)) {
    throw apart(files, `is missing, but there is the counter file ${files.counters}`);
  }
  if (start !== null && start > position) {
    throw apart(files, `begins at ${start}, but the ledger ${files.ledger} ends at ${position}, as an older copy does`);
  }
  new LogWriter(files.log, head, { start: position }).close();
  if (head.position < position) {
    throw apart(files, `ends at ${head.position}, but the ledger ${files.ledger} has it up to ${position}`);
  }
}

function apart(files: Files, wrong: string): StartError {
  return new StartError(
    `the log ${files.log} ${wrong}: they do not belong together. Put the right ones back, or move ${files.log} and ` +
      `${files.counters} away to go on from the ledger alone: what it does not have is then lost`,
  );
}
