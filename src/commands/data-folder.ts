import { existsSync } from "node:fs";
import { deployment, type Settings } from "../config.ts";
import { StartError } from "../errors.ts";

/** Before a command that only looks: a folder that is not there is a wrong --data, not an empty one. */
export function needDataFolder(settings: Settings): void {
  if (deployment(settings) === "embedded" && !existsSync(settings.data))
    throw new StartError(`there is no data directory ${settings.data}: name it with --data`);
}
