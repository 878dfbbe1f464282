import { isDeepStrictEqual } from "node:util";
import type { MetricSetting } from "../model.ts";
import { readArguments } from "./arguments.ts";
import { loadSettings } from "./load.ts";
import type { Settings } from "./settings.ts";
import { SETTING_NAMES, SETTINGS } from "./table.ts";
import type { Environment } from "./variables.ts";

export interface Reloaded {
  /** What holds from now on. */
  settings: Settings;
  /** What was changed and holds, in words: `logLevel`, `metrics.saves added`. */
  changed: string[];
  /** What was changed and does not hold before a restart. */
  needsRestart: string[];
}

/** Reads everything again, as SIGHUP asks. Throws a StartError where the new settings are wrong: the old ones stay. */
export function reload(old: Settings, argv: readonly string[], env: Environment): Reloaded {
  const args = readArguments(argv, {});
  // A file that was read before must be there: without it (an editor may be replacing it) all would be as by default.
  const configFile = args.configFile ?? old.configFile ?? undefined;
  const { settings: read } = loadSettings({ args: { ...args, configFile }, env });
  const metrics = reloadMetrics(old.metrics, read.metrics);
  const result: Reloaded = {
    settings: { ...old, metrics: metrics.metrics, configFile: read.configFile },
    changed: metrics.changed,
    needsRestart: metrics.needsRestart,
  };
  for (const name of SETTING_NAMES) {
    if (name === "metrics" || isDeepStrictEqual(old[name], read[name])) continue;
    if (SETTINGS[name].reload) Object.assign(result.settings, { [name]: read[name] });
    (SETTINGS[name].reload ? result.changed : result.needsRestart).push(name);
  }
  return result;
}

/** Metrics are only ever added: the threads count under those that were there, in their old meaning. */
function reloadMetrics(old: readonly MetricSetting[], read: readonly MetricSetting[]) {
  const changed: string[] = [];
  const needsRestart: string[] = [];
  for (const before of old) {
    const now = read.find((metric) => metric.name === before.name);
    if (!now) needsRestart.push(`metrics.${before.name} removed`);
    else if (!isDeepStrictEqual(before, now)) needsRestart.push(`metrics.${before.name}`);
  }
  const added = read.filter((metric) => !old.some((before) => before.name === metric.name));
  for (const metric of added) changed.push(`metrics.${metric.name} added`);
  return { metrics: [...old, ...added], changed, needsRestart };
}
