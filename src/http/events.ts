import { Problem } from "../errors.ts";
import { Garbage } from "../lib/garbage.ts";
import { EVENT_BODY_BYTES_MAX } from "../limits.ts";
import { accepted, done } from "./answer.ts";
import type { Call } from "./call.ts";
import type { HandlerDeps } from "./deps.ts";
import { EventCheck } from "./events/event.ts";
import { formatOf } from "./events/format.ts";
import { KeyedEvents } from "./events/keyed.ts";
import { LineReader } from "./events/line-reader.ts";
import { EventReport } from "./events/report.ts";
import { UnkeyedEvents } from "./events/unkeyed.ts";
import { onceKeyOf } from "./once.ts";

/** Chunks (of at most 128 KiB) between two collections of garbage. */
const COLLECT_EVERY = 128;

/** `POST /v1/events`: lines are counted as they come, and the body is never held whole. */
export function eventHandlers({ catalog, counting, rules, stats }: HandlerDeps) {
  const garbage = new Garbage(COLLECT_EVERY);

  /** Reads on only when what came before is dealt with: whoever sends faster is made to wait by TCP. */
  async function read(call: Call, take: (chunk: Uint8Array) => Promise<void>): Promise<void> {
    if (call.request.body === null) return;
    let bytes = 0;
    try {
      for await (const chunk of call.request.body) {
        bytes += chunk.length;
        if (bytes > EVENT_BODY_BYTES_MAX) throw tooLarge();
        await take(chunk);
        free(chunk);
        garbage.add(1);
      }
    } catch (error) {
      throw isCut(error) ? new Problem("bad-input", "the connection broke in the middle of the body") : error;
    }
  }

  return {
    async post(call: Call): Promise<Response> {
      const report = new EventReport();
      if (call.request.body !== null) {
        const format = formatOf(call.headers["content-type"]);
        if (Number(call.headers["content-length"]) > EVENT_BODY_BYTES_MAX) throw tooLarge();
        const key = onceKeyOf(call, ["events"]);
        const check = new EventCheck(key === undefined ? catalog : catalog.frozen(), call.caller);
        const parts = { format, check, counting, rules, visit: rules.visit(call), stats, report };
        const events = key === undefined ? new UnkeyedEvents(parts) : new KeyedEvents(parts, key);
        const lines = new LineReader(events);
        try {
          await read(call, (chunk) => lines.take(chunk));
        } catch (error) {
          await events.cut();
          throw error;
        }
        await lines.end();
        await events.end();
      }
      return report.isLater ? accepted(call, report.json()) : done(call, report.json());
    },
  };
}

/** Gives its memory back at once: waiting for the garbage collector, a body of 256 MiB came to 400 MiB. */
function free(chunk: Uint8Array): void {
  const { buffer } = chunk;
  if (buffer instanceof ArrayBuffer && buffer.byteLength === chunk.byteLength) buffer.transfer(0);
}

function tooLarge(): Problem {
  return new Problem(
    "too-large",
    `a body here has at most ${EVENT_BODY_BYTES_MAX} bytes; its first lines may have been counted`,
  );
}

/** Bun's word for a connection that ends before the body does. */
function isCut(error: unknown): boolean {
  return error instanceof Error && error.name === "AbortError";
}
