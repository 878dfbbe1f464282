import { Problem } from "../errors.ts";
import { Garbage } from "../lib/garbage.ts";
import { EVENT_BODY_BYTES_MAX } from "../limits.ts";
import { accepted, done } from "./answer.ts";
import { cutOr, refuseEncoding } from "./body.ts";
import type { Call } from "./call.ts";
import type { HandlerDeps } from "./deps.ts";
import { EventCheck } from "./events/event.ts";
import { type EventFormat, formatOf, TEXT } from "./events/format.ts";
import { KeyedEvents } from "./events/keyed.ts";
import { LineReader } from "./events/line-reader.ts";
import { EventReport } from "./events/report.ts";
import { UnkeyedEvents } from "./events/unkeyed.ts";
import { onceKeyOf } from "./once.ts";

/**
 * Bytes of garbage, about, between two collections: a chunk's own (64 KiB of a sender who is slower than we are, up to 1 MiB
 * of one who is faster), and what its lines leave. A body of 256 MiB whose lines are read in full leaves gigabytes.
 */
const COLLECT_EVERY = 8 * 1024 * 1024;

/** `POST /v1/events`: lines are counted as they come, and the body is never held whole. */
export function eventHandlers({ catalog, counting, rules, stats }: HandlerDeps) {
  const garbage = new Garbage(COLLECT_EVERY);
  const litter = (bytes: number): void => garbage.add(bytes);

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
        litter(chunk.length);
      }
    } catch (error) {
      throw cutOr(error);
    }
  }

  /** Undefined where there is nothing to read. */
  async function formatIn(call: Call): Promise<EventFormat | undefined> {
    if (call.request.body === null) return undefined;
    refuseEncoding(call);
    try {
      return formatOf(call.headers["content-type"]);
    } catch (error) {
      if (await isEmpty(call)) return undefined;
      throw error;
    }
  }

  return {
    async post(call: Call): Promise<Response> {
      const report = new EventReport();
      const format = await formatIn(call);
      const key = onceKeyOf(call, ["events"]);
      // No body is a body, too: its key cannot name another one.
      if (format !== undefined || key !== undefined) {
        if (Number(call.headers["content-length"]) > EVENT_BODY_BYTES_MAX) throw tooLarge();
        const check = new EventCheck(key === undefined ? catalog : catalog.frozen(), call.caller);
        const visit = rules.visit(call);
        const parts = { format: format ?? TEXT, check, counting, rules, visit, stats, report, litter };
        const events = key === undefined ? new UnkeyedEvents(parts) : new KeyedEvents(parts, key);
        const lines = new LineReader(events);
        try {
          if (format !== undefined) await read(call, (chunk) => lines.take(chunk));
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

/** A body of unknown length may be none, and then needs no type. What is read of it is lost: this is for who refuses it. */
async function isEmpty({ request, headers }: Call): Promise<boolean> {
  if (request.body === null) return true;
  if (headers["content-length"] !== undefined) return false;
  for await (const chunk of request.body) if (chunk.length > 0) return false;
  return true;
}
