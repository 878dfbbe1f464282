import { isIPv4, isIPv6 } from "node:net";
import type { Settings } from "./settings.ts";
import type { SettingName } from "./table.ts";

/** What must hold between settings. Each rule sees only settings that are right by themselves. */
interface Rule {
  about: readonly SettingName[];
  /** The setting that is wrong and what would be right, or null. `spell` writes a name as the user writes them. */
  check(settings: Settings, spell: (name: SettingName) => string): { name: SettingName; message: string } | null;
}

const CLUSTER = ["redisUrl", "kafkaBrokers", "mysqlUrl"] as const;
const SASL = ["kafkaSasl", "kafkaUsername", "kafkaPassword"] as const;

function isSet(settings: Settings, name: SettingName): boolean {
  const value = settings[name];
  return value !== null && !(Array.isArray(value) && value.length === 0);
}

/** All three stores: cluster; none: embedded. One or two are refused with the other wrong settings. */
export function deployment(settings: Settings): "embedded" | "cluster" {
  return CLUSTER.every((name) => isSet(settings, name)) ? "cluster" : "embedded";
}

/** Neither a key nor a JWT is asked for, and nobody said that this is meant: loopback callers only. */
export function isProtected(settings: Settings): boolean {
  const hasKeys = settings.keys.length > 0 || settings.jwtSecret !== null || settings.jwksUrl !== null;
  return !hasKeys && !settings.open;
}

/** 127.0.0.0/8, ::1 in any spelling, the same mapped into IPv6, and localhost. */
export function isLoopback(host: string): boolean {
  if (/^localhost\.?$/i.test(host)) return true;
  if (isIPv4(host)) return host.startsWith("127.");
  if (!isIPv6(host)) return false;
  const canonical = new URL(`http://[${host.replace(/%.*$/, "")}]`).hostname;
  return canonical === "[::1]" || /^\[::ffff:7f[0-9a-f]{2}:/.test(canonical);
}

export const RULES: readonly Rule[] = [
  {
    about: CLUSTER,
    check(settings, spell) {
      const given = CLUSTER.filter((name) => isSet(settings, name));
      const missing = CLUSTER.filter((name) => !isSet(settings, name));
      if (given[0] === undefined || missing.length === 0) return null;
      const message =
        `a cluster needs Redis, Kafka and MySQL: ${missing.map(spell).join(" and ")} ` +
        `${missing.length > 1 ? "are" : "is"} missing; to run embedded, leave ${given.map(spell).join(" and ")} out`;
      return { name: given[0], message };
    },
  },
  {
    about: ["redisUrl", "redisToken"],
    check(settings, spell) {
      const isRest = /^https?:/.test(settings.redisUrl ?? "");
      if (isRest && !settings.redisToken)
        return { name: "redisUrl", message: `Redis over REST needs ${spell("redisToken")} too` };
      if (!isRest && settings.redisToken)
        return { name: "redisToken", message: `goes with an https:// or http:// URL in ${spell("redisUrl")} only` };
      return null;
    },
  },
  {
    about: SASL,
    check(settings, spell) {
      const given = SASL.find((name) => isSet(settings, name));
      const missing = SASL.filter((name) => !isSet(settings, name));
      if (given === undefined || missing.length === 0) return null;
      return { name: given, message: `SASL needs ${missing.map(spell).join(" and ")} too` };
    },
  },
  {
    about: ["keys"],
    check({ keys }) {
      const isDouble = new Set(keys.map((key) => key.secret)).size < keys.length;
      return isDouble ? { name: "keys", message: "must not hold a secret twice" } : null;
    },
  },
  {
    about: ["corsOrigins"],
    check({ corsOrigins }) {
      const isMixed = corsOrigins.includes("*") && corsOrigins.length > 1;
      return isMixed ? { name: "corsOrigins", message: "must be * alone, or origins without *" } : null;
    },
  },
  {
    about: ["known", "metrics", "types"],
    check({ known, metrics, types }) {
      if (!known) return null;
      const relations = metrics.filter((metric) => metric.kind === "relation").map((metric) => metric.name);
      if (!relations.includes(known.relation))
        return {
          name: "known",
          message: `its relation must be one of the metrics: ${relations.join(", ") || "none is"}`,
        };
      return types && !types.includes(known.type)
        ? { name: "known", message: `its type must be one of ${types.join(", ")}` }
        : null;
    },
  },
  {
    about: ["webhooks", "metrics"],
    check({ webhooks, metrics }) {
      const names = metrics.map((metric) => metric.name);
      const wrong = webhooks.find((webhook) => !names.includes(webhook.metric));
      return wrong
        ? { name: "webhooks", message: `${wrong.metric} is no metric; there are ${names.join(", ")}` }
        : null;
    },
  },
];

/** Only for commands that let others in. */
export const PROTECTED_MODE: Rule = {
  about: ["host", "keys", "jwtSecret", "jwksUrl", "open"],
  check(settings, spell) {
    if (!isProtected(settings) || isLoopback(settings.host)) return null;
    const message =
      "protected mode: without keys the server listens on loopback only. " +
      `Set ${spell("keys")} (admin:SECRET), ${spell("jwtSecret")} or ${spell("jwksUrl")}; ` +
      `or ${spell("open")}, and everyone who reaches it may write; or leave ${spell("host")} at 127.0.0.1`;
    return { name: "host", message };
  },
};
