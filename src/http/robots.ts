import { isbot } from "isbot";
import { AGENT_CHARACTERS_MAX, AGENTS_MAX } from "../limits.ts";

/**
 * Whether a User-Agent is a robot's, by the list of `isbot`. A browser's costs it 2 to 4 µs and browsers are few, so the last
 * answers are kept. Without one it is a robot: every browser sends it.
 */
export class Robots {
  readonly #known = new Map<string, boolean>();

  is(agent: string): boolean {
    if (agent === "") return true;
    const head = agent.length > AGENT_CHARACTERS_MAX ? agent.slice(0, AGENT_CHARACTERS_MAX) : agent;
    const known = this.#known.get(head);
    if (known !== undefined) return known;
    if (this.#known.size >= AGENTS_MAX) this.#known.clear();
    const answer = isbot(head);
    this.#known.set(head, answer);
    return answer;
  }
}
