import { readFileSync } from "node:fs";
import { type Document, LineCounter, parseDocument, visit } from "yaml";
import { StartError } from "../errors.ts";
import { nearest } from "../lib/nearest.ts";
import type { GivenSettings } from "./arguments.ts";
import type { SettingProblem } from "./problems.ts";
import { isSwitch, SETTING_NAMES, SETTINGS, type SettingName } from "./table.ts";

const CONFIG_FILE_DEFAULT = "./tally.yaml";

interface SettingsFile {
  path: string | null;
  settings: GivenSettings;
  problems: SettingProblem[];
}

/** Reads the settings file; only the one that nobody asked for may be missing. */
export function readSettingsFile(asked: string | undefined): SettingsFile {
  const path = asked ?? CONFIG_FILE_DEFAULT;
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (asked === undefined && code === "ENOENT") return { path: null, settings: new Map(), problems: [] };
    throw new StartError(`the settings file ${path} cannot be read: ${code === "ENOENT" ? "there is none" : message}`);
  }
  return parseSettingsFile(path, text);
}

function parseSettingsFile(path: string, text: string): SettingsFile {
  const result: SettingsFile = { path, settings: new Map(), problems: [] };
  const lines = new LineCounter();
  // Pretty errors would quote the line, and with it a secret. Silent, a second document would be left out without a word.
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, logLevel: "error" });
  for (const error of document.errors) {
    const { line, col } = lines.linePos(error.pos[0]);
    result.problems.push({ name: `${path}:${line}:${col}`, message: `is no valid YAML (${error.code.toLowerCase()})` });
  }
  if (result.problems.length > 0) return result;
  for (const offset of danglingAliases(document)) {
    const { line, col } = lines.linePos(offset);
    const message = "names an anchor that is not there; what begins with * wants quotes";
    result.problems.push({ name: `${path}:${line}:${col}`, message });
  }
  if (result.problems.length > 0) return result;
  let content: unknown;
  try {
    content = document.toJS();
  } catch {
    result.problems.push({
      name: path,
      message: "is no valid YAML (its aliases lead into themselves, or to too much)",
    });
    return result;
  }
  if (content === null || content === undefined) return result;
  if (typeof content !== "object" || Array.isArray(content)) {
    result.problems.push({ name: path, message: "must hold settings, such as port: 8080, one a line" });
    return result;
  }
  for (const [key, raw] of Object.entries(content)) {
    const name = `${key} (${path})`;
    const plain = isSetting(key) ? key : negatedBy(key);
    if (!plain) result.problems.push({ name, message: unknownKey(key) });
    else if (raw !== null) result.settings.set(plain, { raw, name, from: "file", negated: plain !== key });
  }
  return result;
}

/** Where an alias (`*name`) stands for nothing: the parser takes it, and what makes values of it would throw. */
function danglingAliases(document: Document): number[] {
  const offsets: number[] = [];
  visit(document, {
    Alias(_, alias) {
      if (!alias.resolve(document)) offsets.push(alias.range?.[0] ?? 0);
    },
  });
  return offsets;
}

function isSetting(key: string): key is SettingName {
  return Object.hasOwn(SETTINGS, key);
}

function negatedBy(key: string): SettingName | undefined {
  return SETTING_NAMES.find((name) => isSwitch(name) && key === `no${name[0]?.toUpperCase()}${name.slice(1)}`);
}

function unknownKey(key: string): string {
  const meant = nearest(key, SETTING_NAMES);
  return `is no setting${meant ? `; did you mean ${meant}?` : ""}`;
}
