import { z } from "zod";
import { badInput } from "../errors.ts";
import { PAGE_BODY_BYTES_MAX, PAGE_SUBJECTS_MAX, STREAM_END_S } from "../limits.ts";
import { type Metric, type Subject, subjectProblem } from "../model.ts";
import type { Follower, Sink } from "../streams/follower.ts";
import type { Watch } from "../streams/watch.ts";
import { readJson } from "./body.ts";
import type { Call } from "./call.ts";
import type { Catalog } from "./catalog.ts";
import { checkSubjects, metrics, subjects } from "./page-input.ts";
import { decodeQuery } from "./path.ts";
import { invalid } from "./problem.ts";

const StreamBody = z.strictObject({ subjects, metrics }, { error: "must be a JSON object" });

const HEADERS = {
  "content-type": "text/event-stream",
  "cache-control": "no-store",
  // nginx gathers answers before it passes them on; this tells it not to.
  "x-accel-buffering": "no",
};

/** Counts that move while you look, as server-sent events. */
export function streamHandlers({
  catalog,
  streams,
  holdOpen,
}: {
  catalog: Catalog;
  streams: Watch;
  holdOpen: (request: Request, seconds: number) => void;
}) {
  /** Of no names: every metric. */
  async function open(call: Call, named: ReadonlySet<Subject>, names: ReadonlySet<string>): Promise<Response> {
    const subjects = [...named];
    catalog.knowTypesOf(subjects);
    const metrics = names.size === 0 ? catalog.all : Array.from(names, (name): Metric => catalog.metric(name));
    const headers = { ...HEADERS, "x-request-id": call.id };
    if (call.method === "HEAD") return new Response(null, { headers });
    const { request } = call;
    const follower = await streams.open(subjects, metrics);
    const close = () => streams.close(follower);
    // Who has gone before the answer begins is never asked for it.
    request.signal.addEventListener("abort", close);
    if (request.signal.aborted) close();
    holdOpen(request, 0);
    const ended = () => holdOpen(request, STREAM_END_S);
    return new Response(eventStream(streams, follower, ended), { headers });
  }

  return {
    /** GET /v1/stream?subject=…&subject=…&metric=… */
    asked(call: Call): Promise<Response> {
      const asked = { subject: new Set<string>(), metric: new Set<string>() };
      for (const pair of call.path.query.split("&")) {
        const [rawName = "", ...rest] = pair.split("=");
        const name = decodeQuery(rawName, "query");
        const value = decodeQuery(rest.join("="), name);
        if (name === "subject" || name === "metric") asked[name].add(value);
      }
      const { size } = asked.subject;
      if (size < 1 || size > PAGE_SUBJECTS_MAX)
        throw badInput("subject", `must be given for each subject, 1 to ${PAGE_SUBJECTS_MAX} times`);
      for (const subject of asked.subject) {
        const problem = subjectProblem(subject);
        if (problem) throw badInput("subject", problem);
      }
      return open(call, asked.subject, asked.metric);
    },

    /** POST /v1/stream */
    async follow(call: Call): Promise<Response> {
      const input = StreamBody.safeParse(await readJson(call, PAGE_BODY_BYTES_MAX));
      if (!input.success) throw invalid(input.error.issues, "json");
      const { subjects } = input.data;
      checkSubjects(subjects);
      return open(call, new Set(subjects), new Set(input.data.metrics));
    },
  };
}

/**
 * A direct stream: what is written goes to the socket at once, and `flush(true)` tells when the socket has taken it. With
 * the standard kind Bun would keep what a slow reader does not take, all of it.
 */
function eventStream(streams: Watch, follower: Follower, ending: () => void): ReadableStream {
  const ended = Promise.withResolvers<void>();
  const end = () => {
    ending();
    ended.resolve();
  };
  return new ReadableStream({
    type: "direct",
    pull(controller) {
      streams.attach(
        follower,
        sinkOf(controller, () => streams.drained(follower), end),
      );
      return ended.promise;
    },
    cancel() {
      streams.close(follower);
    },
  });
}

function sinkOf(controller: ReadableStreamDirectController, drained: () => void, ended: () => void): Sink {
  return {
    write(text) {
      controller.write(text);
      const taken = controller.flush(true) as number | Promise<number>;
      if (!(taken instanceof Promise) || Bun.peek.status(taken) === "fulfilled") return true;
      // Rejected: the connection has broken, and `cancel` tells.
      taken.then(drained, () => undefined);
      return false;
    },
    end() {
      ended();
      try {
        controller.close();
      } catch {
        // It has closed by itself: the reader went first.
      }
    },
  };
}
