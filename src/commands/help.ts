import { usageError } from "../config/arguments.ts";
import { defaultText } from "../config/document.ts";
import { flagOf, GROUPS, isSwitch, SETTING_NAMES, SETTINGS, type SettingName } from "../config/table.ts";
import { VERSION } from "../version.ts";
import { COMMAND_NAMES, type CommandArgs, type CommandName, commandOf, isCommand } from "./table.ts";

const COLUMNS = 100;
/** Where the second column begins. */
const INDENT = 31;

export async function run({ words }: CommandArgs): Promise<number> {
  const [word, ...rest] = words;
  if (word !== undefined && (!isCommand(word) || rest.length > 0))
    throw usageError(`there is no command ${words.join(" ")}`);
  const isBold = process.stdout.isTTY && !process.env.NO_COLOR;
  const text = word === undefined ? overview() : commandHelp(word);
  process.stdout.write(isBold ? text.replace(/^\S.*:$/gm, "\x1b[1m$&\x1b[0m") : text);
  return 0;
}

/** `tally help`: the commands there are and every setting. */
function overview(): string {
  const built = COMMAND_NAMES.filter((name) => commandOf(name).run);
  const groups = Object.entries(GROUPS).map(([group, title]) => {
    const rows = SETTING_NAMES.filter((name) => SETTINGS[name].group === group).map(settingRow);
    return section(`${title}:`, rows);
  });
  return [
    `Tally ${VERSION}, a counting server\n`,
    section("Usage:", ["  tally [command] [settings]"]),
    section(
      "Commands:",
      built.map((name) => row([name, commandOf(name).words].filter(Boolean).join(" "), commandOf(name).summary)),
    ),
    ...groups,
    section("Also:", [
      row("--config FILE", "the settings file [./tally.yaml, if there is one]"),
      row("-h, --help", "this page"),
      row("-v, --version", "which version this is"),
    ]),
    "Each setting has one name in three spellings: --flush-ms, TALLY_FLUSH_MS in the environment,\n" +
      "flushMs in the settings file. A flag goes before the environment, that before the file.\n",
  ].join("\n");
}

function commandHelp(name: CommandName): string {
  const command = commandOf(name);
  const usage = ["  tally", name, command.words, command.options && "[options]", "[settings]"]
    .filter(Boolean)
    .join(" ");
  const options = Object.entries(command.options ?? {}).map(([option, { type, doc }]) =>
    row(`--${option}${type === "string" ? " VALUE" : ""}`, doc),
  );
  const parts = [`tally ${name}: ${command.summary}\n`, section("Usage:", [usage])];
  if (options.length > 0) parts.push(section("Options:", options));
  if (command.more) parts.push(`${wrap(command.more, COLUMNS).join("\n")}\n`);
  parts.push(command.run ? "tally help lists all settings.\n" : "It is not in this version yet.\n");
  return parts.join("\n");
}

function settingRow(name: SettingName): string {
  const setting = SETTINGS[name];
  const flag = isSwitch(name) && setting.default === true ? flagOf(`no-${name}`) : flagOf(name);
  const value = isSwitch(name) ? "" : ` ${setting.value}`;
  const shownDefault = isSwitch(name) ? "" : defaultText(name);
  const doc = flag === flagOf(name) ? setting.doc : `do not ${setting.doc}`;
  return row(flag + value, shownDefault ? `${doc} [${shownDefault}]` : doc);
}

function section(title: string, rows: readonly string[]): string {
  return `${[title, ...rows].join("\n")}\n`;
}

function row(left: string, right: string): string {
  const [first = "", ...more] = wrap(right, COLUMNS - INDENT);
  const head = `  ${left}`.padEnd(INDENT - 1);
  return [`${head} ${first}`, ...more.map((line) => " ".repeat(INDENT) + line)].join("\n");
}

function wrap(text: string, width: number): string[] {
  const lines = [""];
  for (const word of text.split(/\s+/)) {
    const line = lines.at(-1) ?? "";
    if (line !== "" && line.length + 1 + word.length > width) lines.push(word);
    else lines[lines.length - 1] = line === "" ? word : `${line} ${word}`;
  }
  return lines;
}
