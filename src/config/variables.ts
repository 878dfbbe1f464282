import { nearest } from "../lib/nearest.ts";
import type { GivenSettings } from "./arguments.ts";
import { isSwitch, SETTING_NAMES, variableOf } from "./table.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

const PREFIX = "TALLY_";
const CONFIG_FILE_VARIABLE = "TALLY_CONFIG";

/** Kubernetes sets these for a service that is called tally; with `TALLY_PORT` it even takes a name of ours. */
const SERVICE_LINK = /^TALLY_(SERVICE_(HOST|PORT)|PORT_\d+_)/;

interface Variables {
  settings: GivenSettings;
  configFile: string | undefined;
  warnings: string[];
}

/** The settings in the environment. An empty variable is as good as none, as compose files write it. */
export function readVariables(env: Environment): Variables {
  const result: Variables = { settings: new Map(), configFile: env[CONFIG_FILE_VARIABLE] || undefined, warnings: [] };
  const known = new Set([CONFIG_FILE_VARIABLE]);
  for (const setting of SETTING_NAMES) {
    const name = variableOf(setting);
    const negatedName = name.replace(PREFIX, `${PREFIX}NO_`);
    known.add(name);
    if (isSwitch(setting)) known.add(negatedName);
    if (name === "TALLY_PORT" && env[name]?.includes("://")) {
      result.warnings.push(
        "TALLY_PORT is ignored: it is a service link of Kubernetes (enableServiceLinks: false ends them)",
      );
    } else if (env[name]) {
      result.settings.set(setting, { raw: env[name], name, from: "variable" });
    } else if (isSwitch(setting) && env[negatedName]) {
      result.settings.set(setting, { raw: env[negatedName], name: negatedName, from: "variable", negated: true });
    }
  }
  for (const name of Object.keys(env)) {
    if (!name.startsWith(PREFIX) || known.has(name) || SERVICE_LINK.test(name)) continue;
    // Without the prefix: six letters that all names share would make any two of them near.
    const meant = nearest(
      name.slice(PREFIX.length),
      [...known].map((variable) => variable.slice(PREFIX.length)),
    );
    result.warnings.push(`${name} is no setting and is ignored${meant ? `; did you mean ${PREFIX}${meant}?` : ""}`);
  }
  return result;
}
