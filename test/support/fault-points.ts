import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Glob } from "bun";

const SRC = join(import.meta.dir, "../../src");

/** Every point of the source at which a test build can stop, by name. */
export const FAULT_POINTS: readonly string[] = [...new Glob("**/*.ts").scanSync(SRC)]
  .filter((file) => !file.endsWith(".test.ts"))
  .flatMap((file) => [...readFileSync(join(SRC, file), "utf8").matchAll(/\bfault\("([^"]+)"/g)])
  .map((match) => match[1] as string)
  .sort();
