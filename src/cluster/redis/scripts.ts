import { createHash } from "node:crypto";
import actors from "./lua/actors.lua" with { type: "text" };
import advance from "./lua/advance.lua" with { type: "text" };
import agreed from "./lua/agreed.lua" with { type: "text" };
import beginFilling from "./lua/begin-filling.lua" with { type: "text" };
import catchUp from "./lua/catch-up.lua" with { type: "text" };
import changed from "./lua/changed.lua" with { type: "text" };
import claim from "./lua/claim.lua" with { type: "text" };
import counts from "./lua/counts.lua" with { type: "text" };
import cover from "./lua/cover.lua" with { type: "text" };
import drop from "./lua/drop.lua" with { type: "text" };
import dropCopy from "./lua/drop-copy.lua" with { type: "text" };
import endFilling from "./lua/end-filling.lua" with { type: "text" };
import fill from "./lua/fill.lua" with { type: "text" };
import filter from "./lua/filter.lua" with { type: "text" };
import findKey from "./lua/find-key.lua" with { type: "text" };
import forget from "./lua/forget.lua" with { type: "text" };
import giveUpBases from "./lua/give-up-bases.lua" with { type: "text" };
import heads from "./lua/heads.lua" with { type: "text" };
import hint from "./lua/hint.lua" with { type: "text" };
import hintsOf from "./lua/hints-of.lua" with { type: "text" };
import idHash from "./lua/id-hash.lua" with { type: "text" };
import install from "./lua/install.lua" with { type: "text" };
import notes from "./lua/notes.lua" with { type: "text" };
import overlayOf from "./lua/overlay-of.lua" with { type: "text" };
import past from "./lua/past.lua" with { type: "text" };
import pastSince from "./lua/past-since.lua" with { type: "text" };
import putKeyed from "./lua/put-keyed.lua" with { type: "text" };
import putRelations from "./lua/put-relations.lua" with { type: "text" };
import putTallies from "./lua/put-tallies.lua" with { type: "text" };
import read from "./lua/read.lua" with { type: "text" };
import remember from "./lua/remember.lua" with { type: "text" };
import renew from "./lua/renew.lua" with { type: "text" };
import salts from "./lua/salts.lua" with { type: "text" };
import setEnd from "./lua/set-end.lua" with { type: "text" };
import shift from "./lua/shift.lua" with { type: "text" };
import sources from "./lua/sources.lua" with { type: "text" };
import sums from "./lua/sums.lua" with { type: "text" };
import sweep from "./lua/sweep.lua" with { type: "text" };
import token from "./lua/token.lua" with { type: "text" };
import unclaim from "./lua/unclaim.lua" with { type: "text" };
import unhint from "./lua/unhint.lua" with { type: "text" };
import unsettle from "./lua/unsettle.lua" with { type: "text" };

/** A Lua script as Redis knows it. */
export interface Script {
  readonly name: string;
  readonly text: string;
  readonly sha: string;
}

/** Further fields of the head in one command: Lua unpacks fewer than 8,000, and each subject may have a type of its own. */
const KNOWN_AT_ONCE = 4_000;
const BEGIN = `
    local call = redis.call
    local shard = KEYS[1]`;

/**
 * One script for each function of arithmetic/shard.ts, put together from parts: Redis makes a script's local functions
 * anew at each call, so each gets only what it uses. Measured: a redis.call costs about 1 µs more than its command, so
 * the head brings in one HMGET all that a script wants to know of it; redis.sha1hex costs 6 µs, so the caller hashes. A
 * like on a random shard (read, then put) takes 17 µs of Redis, and 6 µs more when it is decided.
 *
 * KEYS[1] is the shard's head; every other key of a shard is that name with something behind it, which keeps all in one
 * slot:
 *
 *     prefix:{0f}             hash: identity, incarnation, version, position, end, epoch, since (the ledger's version when a copy that came back
 *                             began that epoch), changes (how many), pasts (how many moves of another time), bases (the generation's name), old (there are buckets to sweep), `>source` → its last n decided, metric:type → how
 *                             many bases are loaded, filter: "version filling layers entries" (filter.lua)
 *     prefix:{0f}:r:<count>   hash: actor → "stamp under n source"; a count is metric:type/id
 *     prefix:{0f}:names       set of the counts that have such a hash
 *     prefix:{0f}:tallies     hash: "n source" → lines of counts and amounts
 *     prefix:{0f}:keyed       hash: key → lines of count, amount, "n source", at, body
 *     prefix:{0f}:sums        hash: count → sum of the three above
 *     prefix:{0f}:past        list: "by count" of the last 1,000 moves by acts of another time, for a minute behind the last one
 *     prefix:{0f}:b<bases>:<metric:type>:<bucket>   hash: id → the ledger's count (counts.lua)
 *     prefix:{0f}:f<layer>    bits of the filter
 *     prefix:{0f}:filling     who fills it, for a minute
 *     prefix:{0f}:old         hash: <bases>:<metric:type> → buckets of a generation given up, still to be deleted
 *     prefix:{a0f}:<metric:actor>   sorted set: subject → newest stamp hinted; a tag of the actor's hash, not a shard's
 *     prefix:{v0f}:<hash>     who claims a visitor's turn, until it is over; the tag is the subject's
 *     prefix:{v0f}:k<key>     the outcome (1: counts) and body of an act with a key, for 10 minutes
 *     prefix:{salts}:<day>    the day's salt, as long as it is needed
 *     prefix:{agreed}         hash: incarnation, partitions (how many), of each metric m:<name> → "number kind"
 *
 * Ids hold no control characters, so line ends may stand between them.
 */
export const SCRIPTS = {
  read: script(
    "read",
    head("incarnation", "version", "position", "end", "epoch", "changes", "pasts", "bases", "filter"),
    counts,
    filter,
    read,
  ),
  token: script("token", head("incarnation", "version", "position", "end", "epoch", "changes"), token),
  pastSince: script("pastSince", head("epoch", "pasts"), pastSince),
  heads: script("heads", head("incarnation", "version", "position", "end", "epoch"), heads),
  install: script("install", head("incarnation", "version", "since", "bases", "old"), counts, sweep, idHash, install),
  putRelations: script(
    "putRelations",
    head("version", "bases", "filter"),
    changed,
    counts,
    shift,
    filter,
    past,
    putRelations,
  ),
  putTallies: script("putTallies", head("bases"), changed, counts, shift, past, putTallies),
  putKeyed: script("putKeyed", head("version", "bases"), changed, counts, shift, past, putKeyed),
  sources: script("sources", head(), sources),
  notes: script("notes", head(), notes),
  forget: script("forget", head(), forget),
  findKey: script("findKey", head(), findKey),
  advance: script(
    "advance",
    head("incarnation", "version", "bases", "old", "filter"),
    counts,
    shift,
    drop,
    sweep,
    filter,
    remember,
    idHash,
    past,
    advance,
  ),
  cover: script("cover", head("incarnation", "filter"), filter, remember, cover),
  beginFilling: script("beginFilling", head("version", "filter"), filter, remember, beginFilling),
  fill: script("fill", head("filter"), filter, remember, fill),
  endFilling: script("endFilling", head("version", "filter"), filter, remember, endFilling),
  overlayOf: script("overlayOf", head("incarnation", "version", "position", "end", "epoch"), overlayOf),
  catchUp: script(
    "catchUp",
    head("incarnation", "version", "position", "bases"),
    counts,
    giveUpBases,
    shift,
    drop,
    catchUp,
  ),
  renew: script("renew", BEGIN, counts, giveUpBases, renew),
  dropCopy: script("dropCopy", head("epoch", "bases"), counts, giveUpBases, dropCopy),
  setEnd: script("setEnd", head("epoch", "end"), setEnd),
  unsettle: script("unsettle", head(), unsettle),
  actors: script("actors", head(), actors),
  sums: script("sums", head(), sums),
  hint: script("hint", hint),
  unhint: script("unhint", unhint),
  hintsOf: script("hintsOf", hintsOf),
  claim: script("claim", claim),
  unclaim: script("unclaim", unclaim),
  salts: script("salts", salts),
  agreed: script("agreed", agreed),
} as const satisfies Record<string, Script>;

/**
 * Every script on a shard begins with this: is there a copy, and is it of this run of the server? The arguments are the
 * identity, the number of further fields of the head and these (groups, sources), numbers all; the rest begins at
 * `rest`.
 */
export function head(
  ...fields: (
    | "incarnation"
    | "version"
    | "position"
    | "end"
    | "epoch"
    | "since"
    | "changes"
    | "pasts"
    | "bases"
    | "old"
    | "filter"
  )[]
): string {
  const names = ["identity", ...fields];
  const locals = names.map((name) => (name === "end" ? "ending" : name)); // `end` is a word of Lua's own
  return `
    ${BEGIN}
    local rest = 3 + ARGV[2]
    local first = math.min(rest - 1, ${KNOWN_AT_ONCE + 2})
    local head = call("HMGET", shard, ${names.map((name) => `"${name}"`).join(", ")}, unpack(ARGV, 3, first))
    local ${locals.join(", ")} = ${names.map((_, i) => `head[${i + 1}]`).join(", ")}
    if not identity then return "none" end
    if identity ~= ARGV[1] then return "foreign" end
    local known = {}
    for a = 3, first do known[ARGV[a]] = tonumber(head[a + ${names.length - 2}] or 0) end
    for from = first + 1, rest - 1, ${KNOWN_AT_ONCE} do
      local to = math.min(from + ${KNOWN_AT_ONCE - 1}, rest - 1)
      local more = call("HMGET", shard, unpack(ARGV, from, to))
      for a = from, to do known[ARGV[a]] = tonumber(more[a - from + 1] or 0) end
    end`;
}

export function script(name: string, ...parts: string[]): Script {
  // Comments and indentation would be hashed and sent for nothing.
  const text = parts
    .join("\n")
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("--"))
    .join("\n");
  return { name, text, sha: createHash("sha1").update(text).digest("hex") };
}
