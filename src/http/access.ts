import { createHash } from "node:crypto";
import { isProtected, ROLES, type Role, type Settings } from "../config.ts";
import { Problem } from "../errors.ts";
import type { Actor } from "../model.ts";
import type { Call } from "./call.ts";

/** Who asks. */
export interface Caller {
  /** Stands for the caller in the scope of an Idempotency-Key. */
  readonly id: string;
  /** What the caller may do, as a place in ROLES; -1: nothing. */
  readonly rank: number;
  /** The caller's own actor, which `me` means. */
  readonly actor: Actor | null;
}

export const NOBODY: Caller = { id: "", rank: -1, actor: null };

/** What it looks at in a request. */
type Asking = Pick<Call, "headers" | "host" | "path">;

/** The caller, who may act as `rank`; else throws 401, 403 or `protected`. */
export type Access = (asking: Asking, rank: number) => Caller;
export type AccessSettings = Pick<
  Settings,
  "host" | "keys" | "jwtSecret" | "jwksUrl" | "anonymous" | "open" | "corsOrigins"
>;

export function rankOf(role: Role | null): number {
  return role === null ? -1 : ROLES.indexOf(role);
}

/** One of three: protected mode, open to everyone, or by keys. */
export function createAccess(settings: AccessSettings): Access {
  if (isProtected(settings as Settings)) return protectedAccess(settings);
  const hasKeys = settings.keys.length > 0 || settings.jwtSecret !== null || settings.jwksUrl !== null;
  return hasKeys ? keyedAccess(settings) : openAccess();
}

/** Everyone may write. No credentials exist, so none are looked at. */
function openAccess(): Access {
  const everyone: Caller = { id: "", rank: rankOf("write"), actor: null };
  return (_asking, rank) => {
    if (rank > everyone.rank) throw forbidden(everyone, rank);
    return everyone;
  };
}

/**
 * Everything is allowed to loopback callers, and only to them: the server listens on loopback alone (see PROTECTED_MODE),
 * so what is left to refuse is what a proxy or a web page passes on.
 */
function protectedAccess({ host, corsOrigins }: AccessSettings): Access {
  const local: Caller = { id: "", rank: rankOf("admin"), actor: null };
  const origins = new Set(corsOrigins);
  /** The address by which the last caller called us: nearly always that of the next. */
  let accepted: string | null = null;
  return (asking) => {
    if (accepted === null || !asking.path.isUnder(accepted)) {
      const named = asking.host;
      if (named !== null && !isOwnHost(named, host)) throw foreignHost(named);
      accepted = asking.path.origin || null;
    }
    for (const name in asking.headers) if (FORWARDED.test(name)) throw forwarded(name);
    const { origin } = asking.headers;
    if (origin !== undefined && !isOwnOrigin(origin, asking.host) && !origins.has(origin) && !origins.has("*"))
      throw foreignOrigin(origin);
    return local;
  };
}

const FORWARDED = /^(?:x-forwarded-.*|forwarded)$/i;
const NAME_AND_PORT = /^(\[[0-9a-f:.]+\]|[^:/@[\]\s,]+)(?::\d{1,5})?$/i;
const LOOPBACK_NAME = /^(?:(?:[^.]+\.)*localhost\.?|127\.\d{1,3}\.\d{1,3}\.\d{1,3}|\[::1\])$/i;

/** Any port: a tunnel may end on another one. What a page elsewhere cannot have is the name. */
function isOwnHost(named: string, host: string): boolean {
  const name = NAME_AND_PORT.exec(named)?.[1];
  return name !== undefined && (LOOPBACK_NAME.test(name) || name === host || name === `[${host}]`);
}

/** An origin's port counts: another program on this machine serves other pages. */
function isOwnOrigin(origin: string, named: string | null): boolean {
  if (named === null) return false;
  const own = named.toLowerCase();
  return origin === `http://${own}` || origin === `https://${own}`;
}

const LIFT = "Give it keys (TALLY_KEYS=admin:SECRET), or start it with --open to let everyone write";

function forwarded(name: string): Problem {
  return new Problem(
    "protected",
    `this server has no keys, and ${name} says that a proxy passed the request on. ${LIFT}`,
  );
}
function foreignHost(named: string): Problem {
  return new Problem(
    "protected",
    `this server has no keys, and the Host ${JSON.stringify(named)} is not its own. ${LIFT}`,
  );
}
function foreignOrigin(origin: string): Problem {
  const detail = `this server has no keys, and a page of ${JSON.stringify(origin)} asks. Add it to --cors-origins. ${LIFT}`;
  return new Problem("protected", detail);
}

/** Secrets are looked up by their hash, so that how long it takes tells nothing of them. */
function keyedAccess({ keys, anonymous, open }: AccessSettings): Access {
  const callers = new Map<string, Caller>();
  for (const { role, secret } of keys) {
    const hash = hashOf(secret);
    callers.set(hash, { id: `key ${hash}`, rank: rankOf(role), actor: null });
  }
  const stranger: Caller = {
    id: "",
    rank: rankOf(open ? "write" : anonymous === "none" ? null : anonymous),
    actor: null,
  };
  return ({ headers }, rank) => {
    if (rank < 0) return stranger;
    const credentials = headers.authorization;
    const caller = credentials === undefined ? stranger : callers.get(hashOf(tokenOf(credentials)));
    if (caller === undefined) throw unauthorized("the key is not valid", ', error="invalid_token"');
    if (caller.rank >= rank) return caller;
    throw caller === stranger ? unauthorized(`this takes a key of the role ${ROLES[rank]}`) : forbidden(caller, rank);
  };
}

function hashOf(secret: string): string {
  return createHash("sha256").update(secret).digest("base64");
}

function tokenOf(credentials: string): string {
  const token = /^Bearer +(\S+) *$/i.exec(credentials)?.[1];
  if (token === undefined) throw unauthorized("Authorization must be: Bearer KEY", ', error="invalid_request"');
  return token;
}

function forbidden(caller: Caller, rank: number): Problem {
  return new Problem("forbidden", `this takes the role ${ROLES[rank]}; the caller has ${ROLES[caller.rank] ?? "none"}`);
}

function unauthorized(detail: string, more = ""): Problem {
  return new Problem("unauthorized", detail, { headers: { "www-authenticate": `Bearer realm="tally"${more}` } });
}
