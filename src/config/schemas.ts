import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import { parse as parseYaml } from "yaml";
import { z } from "zod";
import { formatDuration, parseDuration } from "../lib/duration.ts";
import { NAME_PATTERN } from "../model.ts";
import { tlsOfMysql } from "./mysql-tls.ts";
import { type KeySetting, type RateLimit, ROLES } from "./settings.ts";

// Each schema takes the text of a flag or a variable as well as what YAML makes of the file, and has one message that
// says what would be right. No message repeats the value: it may be a secret, and the report shows it where it is none.

export const text = z.preprocess(
  (raw) => (typeof raw === "number" || typeof raw === "boolean" ? undefined : raw),
  z.string({ error: "must be text (in the file, put quotes around a number)" }).trim().min(1, "must not be empty"),
);

/** Read here only to be told with all that is wrong if that cannot be: who needs it does so again. */
export const readableFile = text.superRefine((path, context) => {
  try {
    readFileSync(path);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    // The system's message names the path behind the comma.
    const why = code === "ENOENT" ? "there is none" : message.split(",")[0];
    context.addIssue({ code: "custom", message: `must be a file that can be read: ${why}` });
  }
});

export function count(min: number, max: number) {
  const error = `must be a whole number from ${min} to ${max}`;
  return z.preprocess(
    (raw) => (typeof raw === "string" && /^\d{1,16}$/.test(raw.trim()) ? Number(raw) : raw),
    z.int({ error }).min(min, error).max(max, error),
  );
}

/** Milliseconds. */
export function duration(min: number, max: number) {
  const error = `must be a duration from ${formatDuration(min)} to ${formatDuration(max)}, such as 500ms, 30m or 7d`;
  return z.preprocess(
    (raw) => (typeof raw === "string" ? parseDuration(raw) : undefined),
    z.number({ error }).min(min, error).max(max, error),
  );
}

const WORDS: Record<string, boolean> = {
  ...{ "1": true, true: true, yes: true, on: true },
  ...{ "0": false, false: false, no: false, off: false },
};

export const bool = z.preprocess(
  (raw) => (typeof raw === "string" || typeof raw === "number" ? WORDS[String(raw).trim().toLowerCase()] : raw),
  z.boolean({ error: "must be true or false" }),
);

export function oneOf<const T extends readonly string[]>(words: T) {
  const error = `must be ${words.slice(0, -1).join(", ")} or ${words.at(-1)}`;
  return z.preprocess((raw) => (typeof raw === "string" ? raw.trim() : raw), z.enum(words, { error }));
}

/** Comma-separated, or a list in the file. */
export function list<T>(item: z.ZodType<T>) {
  return z.preprocess(
    (raw) => (typeof raw === "string" ? splitList(raw) : raw),
    z.array(item, { error: "must be a list, divided by commas" }),
  );
}

function splitList(raw: string): string[] {
  return raw
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "");
}

/** What has parts of its own is a mapping in the file, and the same in YAML's or JSON's short form elsewhere. */
export function structure<T>(schema: z.ZodType<T>) {
  return z.preprocess(parsedStructure, schema);
}

/** Undefined where the short form is none. */
export function parsedStructure(raw: unknown): unknown {
  if (typeof raw !== "string") return raw;
  try {
    return parseYaml(raw, { prettyErrors: false, logLevel: "silent" });
  } catch {
    return undefined;
  }
}

/** A text that `check` accepts, as `check` returns it; undefined refuses. */
function checked<T>(check: (value: string) => T | undefined, error: string) {
  return z.preprocess(
    (raw) => (typeof raw === "string" ? check(raw.trim()) : undefined),
    z.custom<T>((value) => value !== undefined, { error }),
  );
}

export const name = checked(
  (v) => (NAME_PATTERN.test(v) ? v : undefined),
  "must be a name: a small letter, then up to 31 small letters, digits or underscores",
);

export const host = checked((v) => {
  const bare = v.startsWith("[") && v.endsWith("]") ? v.slice(1, -1) : v;
  return isIP(bare) || isHostname(bare) ? bare : undefined;
}, "must be an address or a host name without a port, such as 127.0.0.1, 0.0.0.0, :: or localhost");

export const network = checked((v) => {
  const [address = "", bits, ...rest] = v.split("/");
  const version = isIP(address);
  if (version === 0 || rest.length > 0) return undefined;
  if (bits === undefined) return v;
  return /^\d{1,3}$/.test(bits) && Number(bits) <= (version === 4 ? 32 : 128) ? v : undefined;
}, "must be an address or a network, such as 10.1.2.3, 10.0.0.0/8 or fd00::/8");

export const broker = checked((v) => {
  const withPort = /:\d+$/.test(v) && !(isIP(v) === 6) ? v : `${v}:9092`;
  return isHostAndPort(withPort) ? withPort : undefined;
}, "must be host or host:port (default 9092)");

export const origin = checked((v) => {
  if (v === "*") return v;
  const url = URL.parse(v);
  const isOrigin = url !== null && /^https?:$/.test(url.protocol) && `${url.protocol}//${url.host}` === url.origin;
  return isOrigin && /^https?:\/\/[^/?#@]+\/?$/i.test(v) ? url.origin : undefined;
}, "must be an origin, such as https://example.org, or *");

export const prefix = checked(
  (v) => (/^[a-zA-Z0-9._-]{1,64}$/.test(v) ? v : undefined),
  "must be 1 to 64 letters, digits, dots, dashes or underscores",
);

export const httpUrl = checked((v) => {
  const url = URL.parse(v);
  return url && /^https?:$/.test(url.protocol) ? v : undefined;
}, "must be a URL that begins with https:// or http://");

/** Who reads the URL later decodes it, and would throw: a password with a bare % is a common one. */
function decodable(url: z.ZodType<string>): z.ZodType<string> {
  return url.superRefine((value, context) => {
    try {
      decodeURIComponent(value.replace(/\?.*$/s, ""));
    } catch {
      context.addIssue({ code: "custom", message: "must have its user and password percent-encoded: % is %25" });
    }
  });
}

const redisAddress = checked((v) => {
  if (v.startsWith("redis+cluster://")) {
    const nodes = v
      .slice("redis+cluster://".length)
      .replace(/^[^@]*@/, "")
      .replace(/\/$/, "")
      .split(",");
    return nodes.every(isHostAndPort) ? v : undefined;
  }
  const url = URL.parse(v);
  return url?.hostname && /^(rediss?|https?):$/.test(url.protocol) ? v : undefined;
}, "must be redis://, rediss://, https:// or http:// with a host, or redis+cluster://host:port,host:port");
export const redisUrl = decodable(redisAddress);

/** What the driver would take besides, or drop with a warning (`ssl-mode`), changes how we read and write, or does not protect. */
const mysqlAddress = checked((v) => {
  const url = URL.parse(v);
  const isWhole = url?.protocol === "mysql:" && url.hostname && /^\/[^/]+$/.test(url.pathname);
  return isWhole && tlsOfMysql(url) !== undefined && [...url.searchParams.keys()].every((key) => key === "ssl")
    ? v
    : undefined;
}, "must be mysql://user:password@host/database, with ?ssl=true behind it for TLS");
export const mysqlUrl = decodable(mysqlAddress);

export const rateLimit = checked((v): RateLimit | undefined => {
  const match = /^(\d{1,7}(?:\.\d{1,3})?):(\d{1,7})$/.exec(v);
  const limit = { perSecond: Number(match?.[1]), burst: Number(match?.[2]) };
  return limit.perSecond > 0 && limit.burst >= 1 ? limit : undefined;
}, "must be tokens a second and burst, such as 50:100");

export const key = checked(
  (v): KeySetting | undefined => {
    const colon = v.indexOf(":");
    const role = ROLES.find((r) => r === v.slice(0, colon));
    const secret = v.slice(colon + 1);
    return role && /^[\x21-\x7e]+$/.test(secret) ? { role, secret } : undefined;
  },
  `must be role:secret, the role one of ${ROLES.join(", ")}, the secret without blanks`,
);

function isHostname(value: string): boolean {
  return (
    value.length <= 253 &&
    /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*\.?$/i.test(value)
  );
}

function isHostAndPort(value: string): boolean {
  const colon = value.lastIndexOf(":");
  const port = value.slice(colon + 1);
  return colon > 0 && host.safeParse(value.slice(0, colon)).success && /^\d{1,5}$/.test(port) && Number(port) <= 65535;
}
