import { compareBytes } from "../arithmetic/place.ts";
import { CountedWalk, countedRange, firstOf } from "../local/counted.ts";
import type { Subject } from "../model.ts";
import type { CountedPage, CountedQuery } from "../ports/counting.ts";
import type { CounterTable } from "../tallies/table.ts";
import type { SqliteLedgerReader } from "./reads.ts";

/**
 * Subjects that show a count above 0: those of the ledger, with those whose counters rose from 0 so lately that it may lack
 * them. What each shows says the table where it has the counter, and the ledger where not.
 *
 * A counter that has left the table is in the ledger. It may leave between the snapshot and the look at the table: then
 * `departures` has moved, and all of it is done again.
 */
export class CountedReader {
  readonly #table: CounterTable;
  readonly #ledger: SqliteLedgerReader;

  constructor(table: CounterTable, ledger: SqliteLedgerReader) {
    this.#table = table;
    this.#ledger = ledger;
  }

  read(query: CountedQuery): CountedPage {
    for (;;) {
      const departures = this.#table.departures();
      const newcomers = this.#newcomers(query);
      const page = this.#ledger.snapshot(() => this.#page(query, newcomers));
      if (this.#table.departures() === departures) return page;
    }
  }

  /** Before the snapshot: what is no newcomer any more is in the ledger. Sorted. */
  #newcomers(query: CountedQuery): Subject[] {
    const { after, below } = countedRange(query);
    const found = new Set<Subject>();
    this.#table.enter();
    try {
      this.#table.visitNewcomers((subject) => {
        if (subject < below && compareBytes(subject, after) > 0) found.add(subject);
      });
    } finally {
      this.#table.leave();
    }
    return [...found].sort(compareBytes);
  }

  #page(query: CountedQuery, newcomers: Subject[]): CountedPage {
    const { below } = countedRange(query);
    const walk = new CountedWalk(query);
    for (;;) {
      const { after, wanted: limit } = walk;
      const stored = this.#ledger.countedSubjects({ after, below, limit });
      const next = firstOf([...stored, newcomers.filter((subject) => compareBytes(subject, after) > 0)], limit);
      const page = walk.take(next, this.#shown(query, next, after));
      if (page) return page;
    }
  }

  #shown({ metrics }: CountedQuery, subjects: readonly Subject[], after: Subject): boolean[] {
    if (subjects.length === 0) return [];
    const stored = new Map<Subject, Map<number, number>>();
    this.#ledger.eachCount(after, subjects.at(-1) as Subject, (subject, metric, count) => {
      const counts = stored.get(subject) ?? new Map<number, number>();
      stored.set(subject, counts);
      counts.set(metric, count);
    });
    this.#table.enter();
    try {
      return subjects.map((subject) =>
        metrics.some(({ id }) => {
          const slot = this.#table.peek(id, subject);
          const isHere = slot >= 0 && this.#table.isLoaded(slot);
          return (isHere ? this.#table.shown(slot) : (stored.get(subject)?.get(id) ?? 0)) > 0;
        }),
      );
    } finally {
      this.#table.leave();
    }
  }
}
