import { Database } from "bun:sqlite";
import { existsSync, readFileSync, realpathSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { StartError } from "../errors.ts";

/**
 * One server for each data directory: an exclusive lock on a small SQLite file, which the system takes away from a process
 * that dies, however it dies. Who has it stands in a file beside it, as a locked one cannot be read. A successor can be
 * let in by `release` before the process ends.
 */
export class DataLock {
  readonly #db: Database;
  readonly #folder: string;

  private constructor(db: Database, folder: string) {
    this.#db = db;
    this.#folder = folder;
  }

  /** Null where another process has it. */
  static take(folder: string): DataLock | null {
    const db = lockIn(folder);
    if (db === null) return null;
    writeOwner(folder, readOwner(folder).place || placeOf(folder));
    return new DataLock(db, folder);
  }

  /** Throws StartError, naming the owner, where another process has it. */
  static takeOrRefuse(folder: string): DataLock {
    const lock = DataLock.take(folder);
    if (lock) return lock;
    throw new StartError(
      `another server uses the data directory ${folder} (${DataLock.owner(folder)}): stop it, or choose another with --data`,
    );
  }

  static owner(folder: string): string {
    return readOwner(folder).process || "an unknown process";
  }

  /**
   * Whether the folder is a copy of another one that a server may still use, which then does what it was about to do when the
   * copy was made. One that was moved, or whose original stands there unused, is none.
   */
  isCopy(): boolean {
    return isInUse(readOwner(this.#folder).place, placeOf(this.#folder));
  }

  /** What the folder holds is its own from now on, wherever it was copied from. */
  settle(): void {
    writeOwner(this.#folder, placeOf(this.#folder));
  }

  release(): void {
    this.#db.close();
  }
}

/** Who has the lock, or had it last, and the folder's place when it was settled; empty where that is not known. */
function readOwner(folder: string): { process: string; place: string } {
  try {
    const [process = "", place = ""] = readFileSync(join(folder, "lock.owner"), "utf8").split("\n");
    return { process, place };
  } catch {
    return { process: "", place: "" };
  }
}

function writeOwner(folder: string, place: string): void {
  writeFileSync(join(folder, "lock.owner"), `process ${process.pid} since ${new Date().toISOString()}\n${place}`);
}

function lockIn(folder: string): Database | null {
  const db = new Database(join(folder, "lock"), { create: true });
  try {
    db.run("PRAGMA locking_mode = EXCLUSIVE");
    db.run("BEGIN EXCLUSIVE");
    return db;
  } catch (error) {
    db.close();
    if ((error as { code?: string }).code === "SQLITE_BUSY") return null;
    throw error;
  }
}

/** Inode, device and path of the folder: the first two stay when it is moved, the first and last when its disk comes back. */
function placeOf(folder: string): string {
  const { dev, ino } = statSync(folder);
  return `${ino} ${dev} ${realpathSync(folder)}`;
}

/** Whether the folder that was at `there` is another one than that at `here`, and not known to be unused. */
function isInUse(there: string, here: string): boolean {
  const [a, b] = [parsePlace(there), parsePlace(here)];
  if (there === "" || (a.ino === b.ino && (a.dev === b.dev || a.path === b.path))) return false;
  try {
    // Another folder stands there by now.
    if (a.path === b.path || parsePlace(placeOf(a.path)).ino !== a.ino) return true;
    const lock = existsSync(join(a.path, "lock")) ? lockIn(a.path) : null;
    lock?.close();
    return lock === null;
  } catch {
    // Gone, or another user's.
    return true;
  }
}

function parsePlace(place: string): { ino: string; dev: string; path: string } {
  const [ino = "", dev = "", ...path] = place.split(" ");
  return { ino, dev, path: path.join(" ") };
}
