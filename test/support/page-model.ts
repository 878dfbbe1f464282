/** What a page must show, by nothing but the acts it was told of, in their order. */
export class PageModel {
  readonly #counts = new Map<string, number>();
  /** Metric → subject → actor → number of the act that made it active. */
  readonly #active = new Map<string, Map<string, Map<string, number>>>();
  #acts = 0;

  count(metric: string, subject: string, by: number): void {
    const key = `${metric} ${subject}`;
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + by);
  }

  relate(metric: string, subject: string, actor: string, active: boolean): void {
    const actors = this.#actors(metric, subject);
    this.#acts++;
    if (!active) actors.delete(actor);
    else if (!actors.has(actor)) actors.set(actor, this.#acts);
  }

  item(
    subject: string,
    { tallies, relations, actor, known }: { tallies: string[]; relations: string[]; actor?: string; known?: boolean },
  ) {
    const counts: Record<string, number> = {};
    for (const metric of tallies) counts[metric] = this.#counts.get(`${metric} ${subject}`) ?? 0;
    for (const metric of relations) counts[metric] = this.#actors(metric, subject).size;
    if (actor === undefined) return { subject, counts };
    const mine = relations.filter((metric) => this.#actors(metric, subject).has(actor));
    if (!known) return { subject, counts, mine };
    const friends = relations.map((metric) => {
      const known = [...this.#actors(metric, subject)].filter(([id]) =>
        this.#actors("follows", `user/${id}`).has(actor),
      );
      const actors = known.sort(([, a], [, b]) => b - a).map(([id]) => id);
      return [metric, { count: actors.length, actors: actors.slice(0, 3) }];
    });
    return { subject, counts, mine, known: Object.fromEntries(friends) };
  }

  #actors(metric: string, subject: string): Map<string, number> {
    const subjects = this.#active.get(metric) ?? new Map<string, Map<string, number>>();
    this.#active.set(metric, subjects);
    const actors = subjects.get(subject) ?? new Map<string, number>();
    subjects.set(subject, actors);
    return actors;
  }
}
