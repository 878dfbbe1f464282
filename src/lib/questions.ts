/** Questions to another thread, each with a number by which its answer finds it. */
export class Questions<Answer> {
  readonly #asked = new Map<number, (answer: Answer) => void>();
  #lastId = 0;

  ask(send: (id: number) => void): Promise<Answer> {
    return new Promise((resolve) => {
      const id = ++this.#lastId;
      this.#asked.set(id, resolve);
      send(id);
    });
  }

  answer(id: number, answer: Answer): void {
    const resolve = this.#asked.get(id);
    this.#asked.delete(id);
    resolve?.(answer);
  }

  /** For all that nobody answers any more. */
  answerAll(answer: Answer): void {
    for (const id of [...this.#asked.keys()]) this.answer(id, answer);
  }
}
