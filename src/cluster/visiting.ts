import { dayOf } from "../arithmetic/days.ts";
import type { SketchBoard } from "../distinct/board.ts";
import type { Code } from "../distinct/code.ts";
import { Known } from "../distinct/known.ts";
import type { Distinct } from "../distinct/sketches.ts";
import { unavailable } from "../errors.ts";
import { wallMs } from "../lib/fault.ts";
import type { Subject } from "../model.ts";
import type { LogClient } from "./log-client.ts";

/** A subject may be erased on another node: its visitors count again after so long, and soon after somebody has looked. */
const KNOWN_MS = 60_000;

/** A request thread's way to the node's sketches, which are the log thread's. */
export class Visiting {
  readonly #known: Known;
  readonly #log: LogClient;

  constructor(parts: { board: SketchBoard; log: LogClient }) {
    this.#known = new Known(parts.board, KNOWN_MS);
    this.#log = parts.log;
  }

  visit(metric: number, subject: Subject, code: Code): undefined | Promise<undefined> {
    const visit = { metric, day: dayOf(wallMs()), subject, code, epoch: this.#known.epoch };
    if (this.#known.has(visit)) return undefined;
    return this.#log.visit({ metric, subject, code }).then((rank) => this.#known.note(visit, rank));
  }

  async count(metric: number, subject: Subject): Promise<Distinct> {
    const distinct = await this.#log.distinct(metric, subject);
    if (distinct === null) throw unavailable("MySQL is away, or far behind, and only it has this");
    return distinct;
  }
}
