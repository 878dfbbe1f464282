import type { Settings } from "../config.ts";
import { EXIT } from "../errors.ts";
import { migrateStores } from "../open.ts";

export async function run(settings: Settings): Promise<number> {
  process.stdout.write(`${await migrateStores(settings)}\n`);
  return EXIT.ok;
}
