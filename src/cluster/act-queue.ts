import { MESSAGE_BYTES_MAX } from "./kafka/rounds.ts";
import type { Act, ActAnswer } from "./messages.ts";

/**
 * What one act writes into a frame at most: an increment with a key (67 bytes) and its visitor (27), each with a subject of
 * 161, are 416; a relation with a key, a subject and an actor of 128 is 340.
 */
const ACT_BYTES_MAX = 448;
/**
 * Acts that are logged together. All of them may be of one partition, and its part is one message: while Kafka takes its time
 * tens of thousands gather, and in one message it would take them never.
 */
export const ACTS_AT_ONCE = Math.floor(MESSAGE_BYTES_MAX / ACT_BYTES_MAX);

interface Waiting {
  acts: Act[];
  done(answers: ActAnswer[]): void;
}

/** Acts that wait to be logged, in the order they came. */
export class ActQueue {
  readonly #waiting: Waiting[] = [];

  get isEmpty(): boolean {
    return this.#waiting.length === 0;
  }

  /** At most LOOKS_AT_ONCE acts, which stay together. */
  add(acts: Act[]): Promise<ActAnswer[]> {
    return new Promise((done) => void this.#waiting.push({ acts, done }));
  }

  /** Those that go into the log next. */
  next(): Waiting[] {
    let acts = 0;
    const tooMany = this.#waiting.findIndex((each) => {
      acts += each.acts.length;
      return acts > ACTS_AT_ONCE;
    });
    return this.#waiting.splice(0, tooMany < 0 ? this.#waiting.length : Math.max(1, tooMany));
  }
}

/** Gives each of a batch its own, which follow one another. */
export function answerEach(batch: readonly Waiting[], answers: readonly ActAnswer[]): void {
  let from = 0;
  for (const { acts, done } of batch) {
    done(answers.slice(from, from + acts.length));
    from += acts.length;
  }
}
