import { StartError } from "../errors.ts";
import { parsedStructure } from "./schemas.ts";
import { flagOf, hasParts, SETTINGS, type SettingName } from "./table.ts";

export interface SettingProblem {
  /** In the spelling that was used. */
  name: string;
  /** As it may be shown; undefined where there is none to show. */
  value?: string | undefined;
  message: string;
}

/** Everything that is wrong with the settings, at once. */
export class SettingsError extends StartError {
  readonly problems: readonly SettingProblem[];

  constructor(problems: readonly SettingProblem[]) {
    const lines = problems.map(({ name, value, message }) =>
      value === undefined ? `${name}: ${message}` : `${name} = ${value}: ${message}`,
    );
    super(
      problems.length === 1
        ? `wrong setting: ${lines[0]}`
        : [`${problems.length} settings are wrong`, ...lines].join("\n  "),
    );
    this.name = "SettingsError";
    this.problems = problems;
  }

  /** Of one setting, where it is used; how it was spelled nobody knows there. */
  static of(name: SettingName, raw: unknown, message: string): SettingsError {
    return new SettingsError([{ name: flagOf(name), value: shown(name, raw), message }]);
  }

  /** What all of them resolve to. Where some find settings wrong, it rejects with what all of them have found. */
  static async gather<A, B>(work: readonly [Promise<A>, Promise<B>]): Promise<[A, B]> {
    const settled = await Promise.allSettled(work);
    const problems = settled.flatMap((each) => {
      return each.status === "rejected" && each.reason instanceof SettingsError ? each.reason.problems : [];
    });
    if (problems.length > 0) throw new SettingsError(problems);
    return Promise.all(work);
  }
}

const HIDDEN = "***";
const SHOWN_MAX = 120;

/** A value as the report shows it: short, on one line, without secrets. `path` leads into a setting that has parts. */
export function shown(name: SettingName, raw: unknown, path: readonly PropertyKey[] = []): string | undefined {
  const part = partAt(path.length > 0 && hasParts(name) ? parsedStructure(raw) : raw, path);
  if (part === null || !["string", "number", "boolean"].includes(typeof part)) return undefined;
  const text = String(part);
  const shownText = hide(secrecy(name, path, text), text);
  const line = /\p{Cc}/u.test(shownText) ? JSON.stringify(shownText) : shownText;
  return line.length > SHOWN_MAX ? `${line.slice(0, SHOWN_MAX)}…` : line;
}

function secrecy(name: SettingName, path: readonly PropertyKey[], text: string): "all" | "url" | "keys" | undefined {
  if (name !== "webhooks") return SETTINGS[name].secret;
  const last = path.at(-1);
  // What is no URL may be the secret, in the wrong place.
  if (last === "url") return /^[a-z]+:\/\//i.test(text) ? "url" : "all";
  return last === "metric" || path.includes("at") ? undefined : "all";
}

function partAt(raw: unknown, path: readonly PropertyKey[]): unknown {
  let part = raw;
  for (const step of path) {
    if (typeof part === "string" && typeof step === "number") part = part.split(",")[step]?.trim();
    else part = typeof part === "object" && part !== null ? (part as Record<PropertyKey, unknown>)[step] : undefined;
  }
  return part;
}

function hide(secret: "all" | "url" | "keys" | undefined, text: string): string {
  if (secret === "all") return HIDDEN;
  if (secret === "url") return hideUrl(text);
  if (secret === "keys") return text.split(",").map(hideKey).join(",");
  return text;
}

function hideKey(item: string): string {
  const role = /^\s*(read|count|write|admin):/.exec(item)?.[1];
  return role ? `${role}:${HIDDEN}` : HIDDEN;
}

/** Up to the last @, because a password may hold an @ or a slash that someone forgot to encode; and what a query holds. */
function hideUrl(text: string): string {
  const [, scheme = "", rest = ""] = /^([a-z+]+:\/\/)?(.*)$/is.exec(text) ?? [];
  const at = rest.lastIndexOf("@");
  const place = at < 0 ? rest : rest.slice(at + 1);
  const colon = rest.slice(0, at + 1).indexOf(":");
  const user = at >= 0 && scheme !== "" && colon > 0 ? `${rest.slice(0, colon)}:` : "";
  const credentials = at < 0 ? "" : `${user}${HIDDEN}@`;
  return scheme + credentials + place.replace(/([?&#][^=&]*=)[^&#]*/g, `$1${HIDDEN}`);
}
