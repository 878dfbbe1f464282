import { reload, type Settings } from "../config.ts";
import { isSystemError, StartError } from "../errors.ts";
import { log, setUpLog } from "../telemetry/log.ts";

/**
 * From now on SIGHUP reads the settings again, also one that comes during a long start, which it must not end. `apply` brings
 * the new ones into force; where it throws a StartError, or they are wrong, the `current` ones stay.
 */
export function reloadOnSignal(current: () => Settings, apply: (settings: Settings) => Promise<void>): void {
  let reloaded = Promise.resolve();
  // One after the other: the last one's settings are those that stay.
  process.on("SIGHUP", () => {
    reloaded = reloaded.then(() => readAgain(current(), apply));
  });
}

async function readAgain(old: Settings, apply: (settings: Settings) => Promise<void>): Promise<void> {
  try {
    const { settings, changed, needsRestart } = reload(old, process.argv.slice(2), process.env);
    await apply(settings);
    setUpLog({ level: settings.logLevel });
    log.info("settings read again", { changed });
    if (needsRestart.length > 0) log.warn("these settings need a restart", { settings: needsRestart });
  } catch (error) {
    // A full disk or a busy ledger, where a metric is to be noted, ends no server that counts.
    if (isSystemError(error))
      log.error("the new settings cannot be taken, the old ones stay: send SIGHUP again", { error });
    else if (error instanceof StartError)
      log.error("the new settings are wrong, the old ones stay", { problem: error.message });
    else throw error;
  }
}
