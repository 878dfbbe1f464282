/** What the administrators' requests must come to, worked out on plain sets: no stamps, no log, no ledger. */
export class AdminModel {
  readonly views = new Map<string, number>();
  /** By relation and subject: the active actors, in the order they became active. */
  readonly active = new Map<string, Map<string, string>>();

  static readonly RELATIONS = ["likes", "follows"];

  count(metric: string, subject: string): number {
    if (metric === "views") return this.views.get(subject) ?? 0;
    return this.actors(metric, subject).size;
  }

  actors(metric: string, subject: string): Map<string, string> {
    const key = `${metric} ${subject}`;
    const actors = this.active.get(key) ?? new Map<string, string>();
    this.active.set(key, actors);
    return actors;
  }

  /** The subjects on which the actor is active. */
  subjects(metric: string, actor: string): string[] {
    return [...this.active]
      .filter(([key, actors]) => key.startsWith(`${metric} `) && actors.has(actor))
      .map(([key]) => key.slice(metric.length + 1))
      .sort();
  }

  /** What is erased, by metric. */
  eraseSubject(subject: string): Record<string, number> {
    const erased: Record<string, number> = { views: this.count("views", subject) };
    this.views.delete(subject);
    for (const metric of AdminModel.RELATIONS) {
      erased[metric] = this.count(metric, subject);
      this.active.delete(`${metric} ${subject}`);
    }
    return erased;
  }

  eraseActor(actor: string): Record<string, number> {
    const erased: Record<string, number> = {};
    for (const metric of AdminModel.RELATIONS) erased[metric] = this.subjects(metric, actor).length;
    for (const actors of this.active.values()) actors.delete(actor);
    return erased;
  }

  /** An actor on both counts once, since the later of the two times. */
  merge(from: string, to: string): void {
    this.views.set(to, this.count("views", from) + this.count("views", to));
    for (const metric of AdminModel.RELATIONS) {
      const into = this.actors(metric, to);
      for (const [actor, at] of this.actors(metric, from)) {
        const known = into.get(actor);
        into.set(actor, known === undefined || at > known ? at : known);
      }
    }
    this.eraseSubject(from);
  }
}
