import { type MessagePort, Worker } from "node:worker_threads";

// In the executable every module says that it lies where its bundle begins, so a path relative to one's own file is
// right from source and wrong compiled. scripts/build.ts lays the entries out below this root as they lie below src.
const ENTRIES = Bun.isStandaloneExecutable ? new URL("file:///$bunfs/root/") : new URL("../", import.meta.url);

/** Where a thread starts, for `new Worker()`: a path under src that is an entry in scripts/build.ts. */
export function threadEntry(path: string): URL {
  return new URL(path, ENTRIES);
}

/** A thread that runs until it is told to stop; `died` hears of one that ends before. */
export class Thread {
  readonly worker: Worker;
  readonly #stopped = Promise.withResolvers<void>();
  #isStopping = false;

  constructor(
    entry: string,
    parts: { name: string; workerData: unknown; transferList?: MessagePort[]; died(error: unknown): void },
  ) {
    const { name, workerData, transferList = [], died } = parts;
    this.worker = new Worker(threadEntry(entry), { workerData, transferList });
    this.worker.on("error", died);
    this.worker.on("exit", (code) => {
      this.stopped();
      if (!this.#isStopping) died(new Error(`the ${name} ended with ${code}`));
    });
  }

  /** Resolves when the thread has ended, or said that it has done all. */
  stop(tell: () => void): Promise<void> {
    this.#isStopping = true;
    tell();
    return this.#stopped.promise;
  }

  /** It has said so. */
  stopped(): void {
    this.#stopped.resolve();
  }
}
