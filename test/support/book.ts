/** A tally as its clients know it. */
export interface KnownTally {
  /** Sum of what was answered 2xx. */
  acked: number;
  /** The same with what may have been counted: no answer came. */
  most: number;
  /** The highest count that anybody was shown. */
  shown: number;
}

/** One actor on one subject; only one client at a time acts for it. */
export interface KnownRegister {
  metric: string;
  subject: string;
  actor: string;
  /** As the last answer said. */
  active: boolean;
  /** Later acts without an answer: the last of them that took effect, if any did, is the state. */
  doubts: boolean[];
  /** When it became active, as the server said. */
  at: string | null;
  /** When the act that made it so was sent and answered, by the test's clock; null where that is not known. */
  acted: { sent: number; answered: number } | null;
}

/** An increment with a key: sent again with the same key, over restarts, until it is answered. */
export interface KeyedAdd {
  subject: string;
  key: string;
  by: number;
}

/** What clients have done and what they were told: what a server must show after whatever happened to it. */
export class Book {
  readonly views = new Map<string, KnownTally>();
  readonly keyed = new Map<string, KnownTally>();
  readonly registers = new Map<string, KnownRegister>();
  /** By client. */
  readonly open = new Map<number, KeyedAdd>();
  /** Every promise that was broken. */
  readonly wrong: string[] = [];
  answers = 0;
  refused = 0;
  lost = 0;

  tally(of: Map<string, KnownTally>, subject: string): KnownTally {
    const known = of.get(subject) ?? { acked: 0, most: 0, shown: 0 };
    of.set(subject, known);
    return known;
  }

  register(metric: string, subject: string, actor: string): KnownRegister {
    const key = JSON.stringify([metric, subject, actor]);
    let known = this.registers.get(key);
    if (!known) {
      known = { metric, subject, actor, active: false, doubts: [], at: null, acted: null };
      this.registers.set(key, known);
    }
    return known;
  }

  must(holds: boolean, promise: () => string): void {
    if (!holds && this.wrong.length < 20) this.wrong.push(promise());
  }
}
