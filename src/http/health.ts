import { read } from "./answer.ts";
import type { Call } from "./call.ts";

export interface Health {
  /** `degraded` still takes writes; the three others do not. */
  status: "starting" | "ready" | "degraded" | "draining" | "unable";
  parts: Record<string, { status: string; since?: string; detail?: string }>;
}

interface HealthDeps {
  health: () => Health;
  scrape: () => Promise<string>;
  usage: () => Promise<string>;
}

export function healthHandlers({ health, scrape, usage }: HealthDeps) {
  return {
    /** GET /healthz: that this answers is the answer. */
    alive: (call: Call): Response => read(call, '{"status":"ok"}'),

    /** GET /readyz */
    ready(call: Call): Response {
      const { status, parts } = health();
      const answer = read(call, JSON.stringify({ status, parts }));
      if (status === "ready" || status === "degraded") return answer;
      return new Response(answer.body, { status: 503, headers: answer.headers });
    },

    /** GET /v1/stats */
    usage: async (call: Call): Promise<Response> => read(call, await usage()),

    /** GET /metrics */
    async metrics(call: Call): Promise<Response> {
      const headers = {
        "content-type": "text/plain; version=0.0.4; charset=utf-8",
        "cache-control": "no-store",
        "x-request-id": call.id,
      };
      return new Response(await scrape(), { headers });
    },
  };
}
