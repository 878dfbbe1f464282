import { TOP_LISTS_MAX } from "../limits.ts";
import { keyOf, type ListName } from "./messages.ts";

/** A list that nobody asked for so long is not worked out any more. */
const WANTED_MS = 60_000;

/** Which lists somebody wants, and who: those are kept up to date, all others are not. */
export class Wanted<Who> {
  readonly #lists = new Map<string, { name: ListName; who: Map<Who, number> }>();

  /** False: there are too many already. */
  add(name: ListName, who: Who, nowMs: number): boolean {
    const key = keyOf(name);
    let list = this.#lists.get(key);
    if (!list) {
      if (this.#lists.size >= TOP_LISTS_MAX) return false;
      list = { name, who: new Map() };
      this.#lists.set(key, list);
    }
    list.who.set(who, nowMs);
    return true;
  }

  remove(who: Who): void {
    for (const list of this.#lists.values()) list.who.delete(who);
  }

  /** Those that are wanted now, and by whom. */
  now(nowMs: number): { name: ListName; who: Who[] }[] {
    for (const [key, { who }] of this.#lists) {
      for (const [each, atMs] of who) if (nowMs - atMs > WANTED_MS) who.delete(each);
      if (who.size === 0) this.#lists.delete(key);
    }
    return Array.from(this.#lists.values(), ({ name, who }) => ({ name, who: [...who.keys()] }));
  }
}
