import { cpSync, existsSync, mkdirSync, readdirSync, rmSync, statfsSync } from "node:fs";
import { join } from "node:path";
import { atEnd } from "./children.ts";

/** The top of the project. */
export const ROOT = join(import.meta.dir, "../..");
/** Everything the bench writes; on the disk of the project, ignored by git. */
export const BENCH_DIRECTORY = join(ROOT, ".bench");
const TMPFS_MAGIC = 0x01021994;

/** Data directories of this run; they go when it ends. */
export class Scratch {
  readonly #directory = join(BENCH_DIRECTORY, `run-${process.pid}`);
  #made = 0;

  constructor() {
    mkdirSync(BENCH_DIRECTORY, { recursive: true });
    removeLeftovers();
    mkdirSync(this.#directory);
    refuseMemory(this.#directory);
    atEnd(() => rmSync(this.#directory, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 }));
  }

  /** A new empty directory. */
  directory(): string {
    const path = join(this.#directory, String(++this.#made));
    mkdirSync(path);
    return path;
  }

  /** A copy of a directory, to be changed freely. */
  copyOf(source: string): string {
    const path = this.directory();
    cpSync(source, path, { recursive: true });
    return path;
  }

  clear(): void {
    for (const name of readdirSync(this.#directory)) this.remove(join(this.#directory, name));
  }

  remove(path: string): void {
    rmSync(path, { recursive: true, force: true });
  }
}

/** Throws where a folder is on no disk. */
export function refuseMemory(folder: string): void {
  if (statfsSync(folder).type !== TMPFS_MAGIC) return;
  throw new Error(`${folder} is memory, not a disk: an fsync there costs nothing and would flatter every number`);
}

/** A run that was killed could not clean up after itself. */
function removeLeftovers(): void {
  for (const name of readdirSync(BENCH_DIRECTORY)) {
    const pid = /^run-(\d+)$/.exec(name)?.[1];
    if (pid && !existsSync(`/proc/${pid}`)) rmSync(join(BENCH_DIRECTORY, name), { recursive: true, force: true });
  }
}
