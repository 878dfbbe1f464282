import { cpSync, existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { CACHE, locked } from "./install.ts";

/** Puts a copy of a folder that is made once, by `make`, and kept in the cache, into `target`. */
export async function copyTemplate(
  name: string,
  target: string,
  make: (folder: string) => Promise<void>,
): Promise<void> {
  const template = join(CACHE, name);
  if (!existsSync(template)) {
    await locked(name, async () => {
      if (existsSync(template)) return;
      const work = `${template}.${process.pid}`;
      rmSync(work, { recursive: true, force: true });
      mkdirSync(dirname(work), { recursive: true });
      mkdirSync(work);
      try {
        await make(work);
        renameSync(work, template); // whole or not at all
      } finally {
        rmSync(work, { recursive: true, force: true });
      }
    });
  }
  cpSync(template, target, { recursive: true });
}
