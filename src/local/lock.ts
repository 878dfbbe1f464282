import { Database } from "bun:sqlite";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { StartError } from "../errors.ts";

/**
 * One server for each data directory: an exclusive lock on a small SQLite file, which the system takes away from a process
 * that dies, however it dies. Who has it stands in a file beside it, as a locked one cannot be read. A successor can be
 * let in by `release` before the process ends.
 */
export class DataLock {
  readonly #db: Database;

  private constructor(db: Database) {
    this.#db = db;
  }

  /** Null where another process has it. */
  static take(folder: string): DataLock | null {
    const db = new Database(join(folder, "lock"), { create: true });
    try {
      db.run("PRAGMA locking_mode = EXCLUSIVE");
      db.run("BEGIN EXCLUSIVE");
    } catch (error) {
      db.close();
      if ((error as { code?: string }).code === "SQLITE_BUSY") return null;
      throw error;
    }
    writeFileSync(join(folder, "lock.owner"), `process ${process.pid} since ${new Date().toISOString()}`);
    return new DataLock(db);
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
    try {
      return readFileSync(join(folder, "lock.owner"), "utf8");
    } catch {
      return "an unknown process";
    }
  }

  release(): void {
    this.#db.close();
  }
}
