import { stringify } from "yaml";
import { formatDuration } from "../lib/duration.ts";
import { defaultOf, flagOf, GROUPS, isSwitch, SETTING_NAMES, SETTINGS, type SettingName, variableOf } from "./table.ts";

/** The default as a reader wants it; empty where the setting has none. */
export function defaultText(name: SettingName): string {
  const { defaultText: inWords } = SETTINGS[name];
  if (inWords !== undefined) return inWords;
  const value = defaultOf(name);
  return value === null || (Array.isArray(value) && value.length === 0) ? "" : String(value);
}

/** docs/settings.md */
export function settingsPage(): string {
  const groups = Object.entries(GROUPS).map(([group, title]) => {
    const names = SETTING_NAMES.filter((name) => SETTINGS[name].group === group);
    return `## ${title}\n\n${names.map(settingSection).join("\n")}`;
  });
  return `${PAGE_HEAD}\n${groups.join("\n")}`;
}

/** deploy/tally.yaml */
export function settingsFile(): string {
  const groups = Object.entries(GROUPS).map(([group, title]) => {
    const names = SETTING_NAMES.filter((name) => SETTINGS[name].group === group);
    return `# ${title}\n\n${names.map(fileSection).join("\n")}`;
  });
  return `${FILE_HEAD}\n${groups.join("\n")}`;
}

function settingSection(name: SettingName): string {
  const setting = SETTINGS[name];
  const flag = isSwitch(name) ? `${flagOf(name)}\`, \`${flagOf(`no-${name}`)}` : flagOf(name);
  const facts = [
    typeText(name),
    setting.unit && `unit: ${setting.unit}`,
    `default: ${defaultText(name) ? `\`${defaultText(name)}\`` : "none"}`,
    setting.reload && "SIGHUP applies a change",
  ];
  const said = [setting.more, setting.later].filter(Boolean);
  const more = said.length > 0 ? `\n${said.join("\n")}\n` : "";
  const example = setting.example ? `\n\`\`\`yaml\n${name}: ${setting.example}\n\`\`\`\n` : "";
  return [
    `### \`${name}\`\n`,
    `\`${flag}\` · \`${variableOf(name)}\` · \`${name}:\`  `,
    `${facts.filter(Boolean).join(" · ")}\n`,
    `${setting.doc.replace(/^[a-z](?![A-Z])/, (letter) => letter.toUpperCase())}.\n${more}${example}`,
  ].join("\n");
}

/** What a value has to be, as the setting's own schema says it to those who got it wrong. */
function typeText(name: SettingName): string {
  const wanted = (raw: unknown) => {
    const result = SETTINGS[name].schema.safeParse(raw);
    return result.success ? "" : (result.error.issues[0]?.message ?? "").replace(/^must be /, "");
  };
  const whole = wanted(undefined);
  return whole.startsWith("a list, divided") ? `${whole}, of: ${wanted([undefined])}` : whole;
}

function fileSection(name: SettingName): string {
  const setting = SETTINGS[name];
  const shownDefault = setting.example && defaultText(name) ? `Default: ${defaultText(name)}` : "";
  const unit = setting.unit && !setting.doc.includes(setting.unit) ? ` (${setting.unit})` : "";
  const remarks = [`${setting.doc}${unit}`, ...(setting.more ?? "").split("\n"), setting.later, shownDefault].filter(
    Boolean,
  );
  const value = setting.example ?? fileDefault(name);
  return [...remarks.map((line) => `# ${line}`), ...`${name}: ${value}`.split("\n").map((line) => `#${line}`), ""].join(
    "\n",
  );
}

function fileDefault(name: SettingName): string {
  if (name === "workers") return "4";
  if (name === "logFormat") return "json";
  const value = defaultOf(name);
  return name === "logRetention" || name === "hotHalfLife" ? formatDuration(value as number) : stringify(value).trim();
}

const PAGE_HEAD = `# Settings

Every setting has one name in three spellings: \`--flush-ms 500\` on the command line, \`TALLY_FLUSH_MS=500\` in the
environment, \`flushMs: 500\` in the settings file. A flag goes before the environment, the environment before the file,
the file before the default. Of a flag given twice the last one holds; an empty flag (\`--redis-url=\`) takes back what
the environment or the file says, and an empty variable counts as none.

The file is \`./tally.yaml\` if there is one, or what \`--config FILE\` or \`TALLY_CONFIG\` names;
\`deploy/tally.yaml\` is one with every setting explained. Lists are divided by commas, or YAML lists in the file.
What has parts of its own (\`metrics\`, \`known\`, \`webhooks\`) may stand in a flag or a variable in YAML's or JSON's
short form: \`--metrics '{views: {kind: tally}}'\`. Switches take true or false (also 1, 0, yes, no, on, off), and
\`--no-\` before the name turns one off.

All wrong settings are reported together, with exit status 78; an unknown flag ends with 64. A \`TALLY_\` variable that
is no setting only brings a warning. On SIGHUP the server reads everything again: what says so below changes at once,
anything else is logged as needing a restart, and if something is wrong, or the file is gone, all stays as it was.

This page and \`deploy/tally.yaml\` are written by \`bun scripts/settings-docs.ts\` from \`src/config/table.ts\`.
`;

const FILE_HEAD = `# Every setting of Tally. Each line that is commented out shows the default, or an example where the
# default is nothing. A flag (--flush-ms) or a variable (TALLY_FLUSH_MS) goes before what stands here.
`;
