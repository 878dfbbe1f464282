import type { Subject } from "../model.ts";

/**
 * The id of what is sent now. It is only a time: whoever comes back with one, to whatever node, is sent all its counts anew,
 * which holds each that has changed meanwhile; so no server need remember what it has sent to whom.
 */
export function eventId(): string {
  return String(Date.now());
}

/** What every event of a count begins its data with. JSON has no line breaks, so the data is one line. */
export function headOf(subject: Subject, metric: string): string {
  return `{"subject":${JSON.stringify(subject)},"metric":"${metric}","count":`;
}

/** One event, as text/event-stream has it. */
export function countEvent(id: string, head: string, count: number): string {
  return `event: count\nid: ${id}\ndata: ${head}${count}}\n\n`;
}

/** A comment: nobody on the way takes the connection for dead. */
export const BEAT = ":\n\n";
