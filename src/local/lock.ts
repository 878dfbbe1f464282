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
  /**
   * Whether this folder is a copy of another one that a server may still use, which then does what it was about to do when
   * the copy was made. A folder that was moved, or whose original stands there unused, is none.
   */
  readonly isCopy: boolean;

  private constructor(db: Database, isCopy: boolean) {
    this.#db = db;
    this.isCopy = isCopy;
  }

  /** Null where another process has it. */
  static take(folder: string): DataLock | null {
    const db = lockIn(folder);
    if (db === null) return null;
    const here = placeOf(folder);
    const isCopy = isInUse(readOwner(folder)[1] ?? "", here);
    const owner = `process ${process.pid} since ${new Date().toISOString()}`;
    writeFileSync(join(folder, "lock.owner"), `${owner}\n${here}`);
    return new DataLock(db, isCopy);
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
    return readOwner(folder)[0] ?? "an unknown process";
  }

  release(): void {
    this.#db.close();
  }
}

/** Who has the lock, or had it last, and the place of the folder then; nothing where that cannot be read. */
function readOwner(folder: string): string[] {
  try {
    return readFileSync(join(folder, "lock.owner"), "utf8").split("\n");
  } catch {
    return [];
  }
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
  if (there === "") return false;
  const [a, b] = [parsePlace(there), parsePlace(here)];
  if (a.ino === b.ino && (a.dev === b.dev || a.path === b.path)) return false;
  if (a.path === b.path || !existsSync(join(a.path, "lock")) || !placeOf(a.path).startsWith(`${a.ino} `)) return true;
  const lock = lockIn(a.path);
  lock?.close();
  return lock === null;
}

function parsePlace(place: string): { ino: string; dev: string; path: string } {
  const [ino = "", dev = "", ...path] = place.split(" ");
  return { ino, dev, path: path.join(" ") };
}
