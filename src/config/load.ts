import type { Arguments, Given, GivenSettings } from "./arguments.ts";
import { readSettingsFile } from "./file.ts";
import { type SettingProblem, SettingsError, shown } from "./problems.ts";
import { PROTECTED_MODE, RULES } from "./rules.ts";
import type { KnownSetting, Settings } from "./settings.ts";
import { defaultOf, flagOf, SETTING_NAMES, SETTINGS, type SettingName, variableOf } from "./table.ts";
import { type Environment, readVariables } from "./variables.ts";

export interface Sources {
  args: Pick<Arguments, "settings" | "configFile">;
  env: Environment;
  /** The command lets others in, so that protected mode holds. */
  listens?: boolean;
}

export interface Loaded {
  settings: Settings;
  /** What is odd but keeps nobody from starting. */
  warnings: string[];
}

/** Flag over environment over file over default. Throws a SettingsError that names all that is wrong. */
export function loadSettings({ args, env, listens = false }: Sources): Loaded {
  const variables = readVariables(env);
  const file = readSettingsFile(args.configFile ?? variables.configFile);
  const given: GivenSettings = new Map([...file.settings, ...variables.settings, ...args.settings]);

  const problems = [...file.problems];
  const wrong = new Set<SettingName>();
  const values: Record<string, unknown> = { configFile: file.path };
  for (const name of SETTING_NAMES) {
    const found = readOne(name, given.get(name));
    values[name] = found.value;
    problems.push(...found.problems);
    if (found.problems.length > 0) wrong.add(name);
  }
  const settings = values as unknown as Settings;
  if (!given.has("known") && !wrong.has("metrics") && !wrong.has("types")) settings.known = knownDefault(settings);
  if (settings.kafkaCa !== null) settings.kafkaTls = true;

  for (const rule of listens ? [...RULES, PROTECTED_MODE] : RULES) {
    if (rule.about.some((name) => wrong.has(name))) continue;
    const first = rule.about.map((name) => given.get(name)).find((found) => found !== undefined);
    const broken = rule.check(settings, (name) => spelling(name, first?.from ?? "flag"));
    if (broken) problems.push(problemOf(broken.name, given.get(broken.name), broken.message));
  }
  if (problems.length > 0) throw new SettingsError(problems);
  return { settings, warnings: [...variables.warnings, ...(listens ? notYet(given, settings) : [])] };
}

/** What was asked for and is not in this version: accepted, so that nobody has to change it twice, and said. */
function notYet(given: GivenSettings, settings: Settings): string[] {
  return [...given].flatMap(([name, { name: spelled }]) => {
    const { later } = SETTINGS[name];
    return later === undefined || !settings[name] ? [] : `${spelled} has no effect yet: ${later}`;
  });
}

function readOne(name: SettingName, given: Given | undefined): { value: unknown; problems: SettingProblem[] } {
  // An empty flag takes back what the environment or the file says.
  if (given === undefined || given.raw === "") return { value: defaultOf(name), problems: [] };
  const result = SETTINGS[name].schema.safeParse(given.raw);
  if (result.success) return { value: given.negated ? !result.data : result.data, problems: [] };
  const byPlace = new Map<string, SettingProblem>();
  for (const issue of result.error.issues) {
    const path = issue.code === "unrecognized_keys" ? [...issue.path, issue.keys[0] ?? ""] : issue.path;
    const place = path.map(String).join("/");
    // One message for one place: the first says most.
    if (!byPlace.has(place)) byPlace.set(place, problemOf(name, given, issue.message, path));
  }
  return { value: undefined, problems: [...byPlace.values()] };
}

/** `path` leads to the part that is wrong: into the name in a file, before the message elsewhere. */
function problemOf(
  name: SettingName,
  given: Given | undefined,
  message: string,
  path: readonly PropertyKey[] = [],
): SettingProblem {
  const spelled = given?.name ?? flagOf(name);
  const value = given && shown(name, given.raw, path);
  const inside = path.map((step) => (typeof step === "number" ? `[${step}]` : `.${String(step)}`)).join("");
  if (given?.from === "file") return { name: spelled.replace(/^\S+/, (key) => key + inside), value, message };
  const [first] = path;
  if (path.length === 1 && typeof first === "number")
    return { name: spelled, value, message: `item ${first + 1} ${message}` };
  return { name: spelled, value, message: inside ? `${inside.replace(/^\./, "")} ${message}` : message };
}

function spelling(name: SettingName, from: Given["from"]): string {
  return { flag: flagOf, variable: variableOf, file: (plain: string) => plain }[from](name);
}

function knownDefault({ metrics, types }: Settings): KnownSetting | null {
  const hasFollows = metrics.some((metric) => metric.name === "follows" && metric.kind === "relation");
  return hasFollows && (types === null || types.includes("user")) ? { relation: "follows", type: "user" } : null;
}
