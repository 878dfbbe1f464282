import { COMMAND_NAMES, type CommandName, commandOf, isCommand } from "./commands/table.ts";
import { type Arguments, readArguments, usageError } from "./config/arguments.ts";
import { loadSettings } from "./config/load.ts";
import type { Settings } from "./config/settings.ts";
import { EXIT, StartError } from "./errors.ts";
import { nearest } from "./lib/nearest.ts";
import { log, setUpLog } from "./telemetry/log.ts";

/** Arguments → command → exit status. */
async function main(argv: readonly string[]): Promise<number> {
  const everyOption = Object.assign({}, ...COMMAND_NAMES.map((name) => commandOf(name).options));
  const args = readArguments(argv, everyOption);
  const { name, words } = chooseCommand(args);
  const command = commandOf(name);
  const foreign = Object.keys(args.options).find((option) => !Object.hasOwn(command.options ?? {}, option));
  if (foreign) throw usageError(`${name} has no flag --${foreign}`);
  if (words.length > 0 && !command.words) throw usageError(`${name} takes no words, not ${words.join(" ")}`);
  if (!command.run) throw new StartError(`${name} is not in this version yet`, EXIT.unavailable);
  const settings = () => settingsFor(args, command.listens === true);
  return command.run({ args: { words, options: args.options }, settings });
}

function chooseCommand({ words, help, version }: Arguments): { name: CommandName; words: string[] } {
  if (version) return { name: "version", words: [] };
  const [word = "serve", ...rest] = words;
  if (!isCommand(word)) {
    const meant = nearest(word, COMMAND_NAMES);
    throw usageError(`there is no command ${word}${meant ? `; did you mean ${meant}?` : ""}`);
  }
  return help && word !== "help" ? { name: "help", words: words.slice(0, 1) } : { name: word, words: rest };
}

function settingsFor(args: Arguments, listens: boolean): Settings {
  const { settings, warnings } = loadSettings({ args, env: process.env, listens });
  // A server's output is its log; that of the other commands is what they were asked for.
  setUpLog({ level: settings.logLevel, format: settings.logFormat, fd: listens ? 1 : 2 });
  for (const warning of warnings) log.warn(warning);
  return settings;
}

/** Prints what ended the program: one clear line where the outside can mend it, the stack where only we can. */
function report(error: unknown): number {
  if (error instanceof StartError) {
    process.stderr.write(`tally: ${error.message}\n`);
    return error.exitStatus;
  }
  const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
  process.stderr.write(`tally: this is a bug in Tally, please report it\n${stack}\n`);
  return EXIT.bug;
}

// The executable evaluates this file again in each worker thread.
if (Bun.isMainThread) {
  const crash = (error: unknown) => process.exit(report(error));
  process.on("uncaughtException", crash);
  process.on("unhandledRejection", crash);
  const status = await main(process.argv.slice(2)).catch(report);
  await new Promise((resolve) => process.stdout.write("", resolve));
  process.exit(status);
}
