import { KEYS_MS } from "../../limits.ts";
import type { Driver, Reply } from "./driver.ts";
import { Names } from "./names.ts";
import { list } from "./replies.ts";
import { SCRIPTS } from "./scripts.ts";

/** A claim for all nodes. `token`: who claims; the same one again is granted what it has. */
export interface SharedClaim {
  shard: number;
  token: string;
  windowMs: number;
  names: readonly string[];
  once: { key: string; body: string } | undefined;
}

/** `kept`: the act's key is known, with the outcome it had. `leftMs`: until when the claim holds, whosever it is. */
export type SharedAnswer =
  | { status: "won" | "taken"; leftMs: number }
  | { status: "kept"; counts: boolean; body: string };

/** A day's salt: one that this node proposes, and for how long it is needed. */
export interface SaltOffer {
  day: number;
  salt: string;
  neededMs: number;
}

/** Redis as what all nodes know of visitors. Rejects with HotStoreAway where it cannot be asked; all may be repeated. */
export class SharedVisitors {
  readonly #driver: Driver;
  readonly #names: Names;

  constructor(driver: Driver, prefix: string) {
    this.#driver = driver;
    this.#names = new Names(prefix);
  }

  /** Each decided in one step, all in one round trip. */
  async claim(claims: readonly SharedClaim[]): Promise<SharedAnswer[]> {
    const replies = await this.#driver.run(
      claims.map(({ shard, token, windowMs, names, once }) => {
        const key = [once?.key ?? "", once?.body ?? "", String(KEYS_MS)];
        const args = [token, String(windowMs), ...key, ...names];
        return { script: SCRIPTS.claim, key: this.#names.visitors(shard), args };
      }),
    );
    return replies.map(answerOf);
  }

  async release({ shard, token, names }: Pick<SharedClaim, "shard" | "token" | "names">): Promise<void> {
    await this.#driver.run([{ script: SCRIPTS.unclaim, key: this.#names.visitors(shard), args: [token, ...names] }]);
  }

  /** The salts that all nodes have, in the order of the offers. */
  async agree(offers: readonly SaltOffer[]): Promise<string[]> {
    const args = offers.flatMap(({ day, salt, neededMs }) => [String(day), salt, String(neededMs)]);
    const [reply] = await this.#driver.run([{ script: SCRIPTS.salts, key: this.#names.salts, args }]);
    return list(reply as Reply).map(String);
  }
}

function answerOf(reply: Reply): SharedAnswer {
  const [status, more] = list(reply).map(String) as [string, string];
  if (status === "kept") return { status, counts: more.startsWith("1"), body: more.slice(1) };
  return { status: status as "won" | "taken", leftMs: Number(more) };
}
