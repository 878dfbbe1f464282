import type { MessagePort } from "node:worker_threads";
import { badInput, Problem, unavailable } from "../errors.ts";
import { Questions } from "../lib/questions.ts";
import type { Actor, Metric, Subject } from "../model.ts";
import type { Admin, Erased } from "../ports/admin.ts";
import type { Counting, OnceKey } from "../ports/counting.ts";
import type { AdminMessage, AdminReply, AdminRequest } from "./jobs.ts";

type Reply = Extract<AdminReply, { counts: Map<number, number> }>;

/** One request thread's way to main, who does what administrators ask (jobs.ts). */
export class EmbeddedAdmin implements Admin {
  readonly #port: MessagePort;
  readonly #counting: Pick<Counting, "counts">;
  readonly #asked = new Questions<AdminReply>();

  constructor(port: MessagePort, counting: Pick<Counting, "counts">) {
    this.#port = port;
    this.#counting = counting;
    port.on("message", (reply: AdminReply) => this.#asked.answer(reply.id, reply));
  }

  async set(metric: Metric, subject: Subject, count: number, once?: OnceKey): Promise<number> {
    const { counts } = await this.#ask({ kind: "set", metric: metric.id, subject, count, once });
    return counts.get(metric.id) as number;
  }

  async eraseSubject(subject: Subject, metrics: readonly Metric[], once?: OnceKey): Promise<Erased> {
    return erased(await this.#ask({ kind: "erase-subject", subject, once }), metrics);
  }

  async eraseActor(actor: Actor, metrics: readonly Metric[], once?: OnceKey): Promise<Erased> {
    return erased(await this.#ask({ kind: "erase-actor", actor, once }), metrics);
  }

  async merge(from: Subject, to: Subject, metrics: readonly Metric[], once?: OnceKey): Promise<number[] | null> {
    const { isShown } = await this.#ask({ kind: "merge", from, to, once });
    return isShown ? this.#counting.counts(to, metrics) : null;
  }

  close(): void {
    this.#port.close();
    const detail = "the server stops; what was asked may or may not be done";
    this.#asked.answerAll({ id: 0, problem: { code: "unavailable", detail } });
  }

  async #ask(request: AdminRequest): Promise<Reply> {
    const reply = await this.#asked.ask((id) => this.#port.postMessage({ id, request } satisfies AdminMessage));
    if ("counts" in reply) return reply;
    const { code, detail } = reply.problem;
    if (code === "unavailable") throw unavailable(detail);
    // Input is checked before; only the sums of a merge are seen as late as this.
    throw code === "bad-input" ? badInput("/from", detail) : new Problem(code, detail);
  }
}

function erased({ counts, isShown }: Reply, metrics: readonly Metric[]): Erased {
  return { counts: metrics.map(({ id }) => counts.get(id) ?? 0), isShown };
}
