import { parseArgs } from "node:util";
import { EXIT, StartError } from "../errors.ts";
import { nearest } from "../lib/nearest.ts";
import { flagOf, isSwitch, SETTING_NAMES, type SettingName } from "./table.ts";

/** A value that somebody wrote for a setting, not checked yet. */
export interface Given {
  raw: unknown;
  /** In the spelling that was used. */
  name: string;
  from: "flag" | "variable" | "file";
  /** `--no-open`: the value is turned round. */
  negated?: boolean;
}

export type GivenSettings = Map<SettingName, Given>;

/** Flags that belong to a command, not to the settings. */
export type CommandOptions = Readonly<Record<string, { type: "string" | "boolean"; doc: string }>>;

export interface Arguments {
  /** What is no flag: the command and its words. */
  words: string[];
  settings: GivenSettings;
  configFile: string | undefined;
  /** The command's own flags, by name without dashes. */
  options: Record<string, string | true>;
  help: boolean;
  version: boolean;
}

const SHORT: Record<string, string> = { "-h": "--help", "-v": "--version" };

/** Divides the command line; refuses flags that do not exist (64). Of a flag given twice the last one holds. */
export function readArguments(argv: readonly string[], commandOptions: CommandOptions): Arguments {
  const settingOf = new Map(SETTING_NAMES.map((name) => [flagOf(name), name]));
  const result: Arguments = {
    words: [],
    settings: new Map(),
    configFile: undefined,
    options: {},
    help: false,
    version: false,
  };
  const wrong: string[] = [];
  // Not strict, because strict stops at the first mistake and words it for programmers.
  const { tokens } = parseArgs({ args: [...argv], strict: false, tokens: true, options: declared(commandOptions) });
  for (const token of tokens) {
    if (token.kind === "positional") result.words.push(token.value);
    if (token.kind !== "option") continue;
    const flag = SHORT[token.rawName] ?? token.rawName;
    const setting = settingOf.get(flag);
    const negated = flag.startsWith("--no-") ? settingOf.get(`--${flag.slice("--no-".length)}`) : undefined;
    const option = Object.hasOwn(commandOptions, token.name) ? commandOptions[token.name] : undefined;
    const lacksValue = token.value === undefined || (!token.inlineValue && token.value.startsWith("--"));

    if (flag === "--help" || flag === "--version") result[flag === "--help" ? "help" : "version"] = true;
    else if (negated && isSwitch(negated) && token.value === undefined)
      result.settings.set(negated, { raw: "true", name: flag, from: "flag", negated: true });
    else if (setting && isSwitch(setting))
      result.settings.set(setting, { raw: token.value ?? "true", name: flag, from: "flag" });
    else if (option?.type === "boolean" && token.value === undefined) result.options[token.name] = true;
    else if (option?.type === "boolean") wrong.push(`${flag} takes no value`);
    else if ((setting || option || flag === "--config") && lacksValue) wrong.push(`${flag} needs a value`);
    else if (setting) result.settings.set(setting, { raw: token.value, name: flag, from: "flag" });
    else if (flag === "--config") result.configFile = token.value;
    else if (option?.type === "string") result.options[token.name] = token.value ?? "";
    else wrong.push(unknownFlag(flag, [...settingOf.keys(), ...Object.keys(commandOptions).map((o) => `--${o}`)]));
  }
  if (wrong.length > 0) throw usageError(wrong.join("; "));
  return result;
}

function declared(commandOptions: CommandOptions): Record<string, { type: "string" | "boolean"; short?: string }> {
  const settings = SETTING_NAMES.map((name) => [
    flagOf(name).slice(2),
    { type: isSwitch(name) ? "boolean" : "string" },
  ]);
  const options = Object.entries(commandOptions).map(([name, { type }]) => [name, { type }]);
  return { config: { type: "string" }, ...Object.fromEntries([...settings, ...options]) };
}

function unknownFlag(flag: string, flags: readonly string[]): string {
  const meant = nearest(flag, [...flags, "--config", "--help", "--version"]);
  return `unknown flag ${flag}${meant ? `; did you mean ${meant}?` : ""}`;
}

export function usageError(message: string): StartError {
  return new StartError(`${message} (tally help lists what there is)`, EXIT.usage);
}
