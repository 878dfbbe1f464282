/**
 * Acts that wait while a job is between the log and the ledger: overlay and ledger still show what the job takes away, so
 * nothing may be decided on it. The writer alone has it. One job at a time.
 */
export class Holds {
  readonly #subjects = new Set<string>();
  readonly #actors = new Set<string>();

  get isEmpty(): boolean {
    return this.#subjects.size === 0 && this.#actors.size === 0;
  }

  hold({ subjects = [], actors = [] }: { subjects?: string[]; actors?: string[] }): void {
    for (const subject of subjects) this.#subjects.add(subject);
    for (const actor of actors) this.#actors.add(actor);
  }

  release(): void {
    this.#subjects.clear();
    this.#actors.clear();
  }

  holds(subject: string, act: { actor(): string }): boolean {
    return this.#subjects.has(subject) || (this.#actors.size > 0 && this.#actors.has(act.actor()));
  }
}
