import { mkdtempSync, readdirSync, rmdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const PREFIX = "tally-services-";
/** The folder of this process, in which all others are; null while there is none. */
let mine: string | null = null;

/** A new, empty folder. If this process is killed, the next one that wants a folder removes it. */
export function newFolder(name: string): string {
  if (mine === null) {
    removeOrphans();
    mine = mkdtempSync(join(tmpdir(), `${PREFIX}${process.pid}-`));
  }
  return mkdtempSync(join(mine, `${name}-`));
}

export function removeFolder(path: string): void {
  rmSync(path, { recursive: true, force: true });
  if (mine === null || readdirSync(mine).length > 0) return;
  rmdirSync(mine);
  mine = null;
}

function removeOrphans(): void {
  for (const name of readdirSync(tmpdir())) {
    if (!name.startsWith(PREFIX) || isAlive(Number.parseInt(name.slice(PREFIX.length), 10))) continue;
    try {
      rmSync(join(tmpdir(), name), { recursive: true, force: true });
    } catch {
      // Another user's.
    }
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as { code?: string }).code === "EPERM";
  }
}
