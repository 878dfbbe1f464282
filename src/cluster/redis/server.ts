import { StartError } from "../../errors.ts";
import { HotStoreAway } from "../../ports/hot-store.ts";

/** What a Redis says of itself in INFO, as name → value. */
export type Info = ReadonlyMap<string, string>;

/** ZADD GT (6.2) is the youngest thing the scripts use. */
const VERSION_MIN = [6, 2] as const;

function parseInfo(text: string): Info {
  const info = new Map<string, string>();
  for (const line of text.split(/\r?\n/)) {
    const colon = line.indexOf(":");
    if (colon > 0 && !line.startsWith("#")) info.set(line.slice(0, colon), line.slice(colon + 1));
  }
  return info;
}

/**
 * Which run of which data this is: the run id changes when the server restarts, the replication id when a replica takes
 * over. Null where the server does not say (some hosted ones).
 */
export function identityOf(info: Info): string | null {
  const run = info.get("run_id");
  return run ? `${run}:${info.get("master_replid") ?? ""}` : null;
}

/** Why the server cannot be asked right now, or null. */
export function passingProblem(info: Info): string | null {
  if (info.get("loading") === "1") return "Redis is loading its data";
  if (info.get("role") === "slave") return "this Redis is a replica";
  return null;
}

/** What keeps us from using the server at all, or null. `policy`: where INFO does not have it. */
function lastingProblem(info: Info, policy = info.get("maxmemory_policy")): string | null {
  const version = info.get("redis_version");
  if (version !== undefined) {
    const [major = 0, minor = 0] = version.split(".").map(Number);
    if (major < VERSION_MIN[0] || (major === VERSION_MIN[0] && minor < VERSION_MIN[1]))
      return `Redis ${version} is too old: Tally needs ${VERSION_MIN.join(".")} or later`;
  }
  if (policy !== undefined && policy !== "noeviction")
    return (
      `Redis may evict keys (maxmemory-policy ${policy}), and counts would be lost: ` +
      "set maxmemory-policy to noeviction, or give Tally a Redis of its own"
    );
  return null;
}

/** The commands that a check of the server needs, however they are sent. */
export type Ask = (command: string, ...args: string[]) => Promise<unknown>;

/** All of INFO that we look at. Throws StartError for what will not pass by itself, HotStoreAway for what will. */
export async function inspect(ask: Ask): Promise<Info> {
  let info: Info;
  try {
    const parts = await Promise.all(
      ["server", "replication", "memory", "persistence"].map((part) => ask("INFO", part)),
    );
    info = parseInfo(parts.map(String).join("\n"));
  } catch (error) {
    const refused = refusalError(error instanceof Error ? error.message : String(error));
    throw refused instanceof StartError ? refused : error;
  }
  const passing = passingProblem(info);
  if (passing) throw new HotStoreAway(passing);
  const lasting = lastingProblem(info, info.get("maxmemory_policy") ?? (await configuredPolicy(ask)));
  if (lasting) throw new StartError(lasting);
  return info;
}

/** What a look from time to time needs. */
export async function look(ask: Ask): Promise<Info> {
  const parts = await Promise.all(["server", "replication"].map((part) => ask("INFO", part)));
  return parseInfo(parts.map(String).join("\n"));
}

async function configuredPolicy(ask: Ask): Promise<string | undefined> {
  try {
    const answer = await ask("CONFIG", "GET", "maxmemory-policy");
    return Array.isArray(answer) ? String(answer[1]) : undefined;
  } catch {
    return undefined; // Hosted ones forbid CONFIG; what they do not say cannot be checked.
  }
}

const CREDENTIALS = /\b(?:WRONGPASS|NOAUTH|NOPERM|invalid password|Unauthorized|without any password)\b/i;
/** A refusal begins with a word like LOADING or ERR. All else is said by who got no answer. */
const REFUSAL = /^[A-Z]{2,} /;

/** The server does not take the user, the password or the token, or does not let them do what we do. */
export class CredentialsRefused extends StartError {
  readonly said: string;

  constructor(said: string) {
    super(`Redis refuses us: ${said}`);
    this.said = said;
  }
}

/** Why a connection could not be made: for ever as far as credentials go, else for now. */
export function refusalError(message: string): StartError | HotStoreAway {
  if (CREDENTIALS.test(message)) return new CredentialsRefused(message);
  return new HotStoreAway(`Redis ${REFUSAL.test(message) ? "refuses us" : "cannot be reached"}: ${message}`);
}
