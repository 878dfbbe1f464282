import type { Stamp } from "../../arithmetic/stamp.ts";
import type { Actor } from "../../model.ts";
import type {
  Missing,
  PastMoves,
  RegisterName,
  RelationAnswer,
  ShardHead,
  ShardOverlay,
  ShardRead,
  ShardToken,
} from "../../ports/hot-store.ts";
import type { Reply } from "./driver.ts";
import { parseCount } from "./names.ts";

/** What a shard's script answers first. Numbers come as text: some clients round integer replies. */
export const HEAD_FIELDS = 5;

export function isMissing(reply: Reply): reply is Missing {
  return reply === "none" || reply === "foreign";
}

export function list(reply: Reply): Reply[] {
  if (!Array.isArray(reply)) throw new Error(`Redis answered ${JSON.stringify(reply)} instead of a list`);
  return reply;
}

export function numberOrNull(reply: Reply | undefined): number | null {
  return reply === null || reply === undefined ? null : Number(reply);
}

export function headOf(fields: Reply[]): ShardHead {
  const [incarnation, version, position, end, epoch] = fields;
  return {
    incarnation: String(incarnation),
    version: Number(version),
    position: Number(position),
    end: Number(end),
    epoch: String(epoch),
  };
}

/** An overlay entry's text begins with its stamp. */
function stampOfEntry(text: Reply | undefined): Stamp | null {
  if (text === null || text === undefined) return null;
  const entry = String(text);
  return Number(entry.slice(0, entry.indexOf(" ")));
}

export function shardRead(reply: Reply, counts: number, registers: number): ShardRead {
  const fields = list(reply);
  const head = headOf(fields);
  const pasts = Number(fields[HEAD_FIELDS + 1] ?? 0);
  const read: ShardRead = { head, token: tokenOf(head, fields), pasts, counts: [], registers: [] };
  const at = HEAD_FIELDS + 2;
  for (let i = 0; i < counts; i++) read.counts.push(numberOrNull(fields[at + i]));
  for (let i = 0; i < registers; i++) read.registers.push(stampOfEntry(fields[at + counts + i]));
  return read;
}

/** "by count" each, behind the place of the first. */
export function pastMoves(reply: Reply): PastMoves | null {
  if (isMissing(reply) || reply === "other") return null;
  const [first, moves] = list(reply);
  return {
    first: Number(first),
    moves: list(moves as Reply).map((move) => {
      const text = String(move);
      const space = text.indexOf(" ");
      return [text.slice(space + 1), Number(text.slice(0, space))];
    }),
  };
}

export function shardToken(reply: Reply): ShardToken {
  const fields = list(reply);
  const head = headOf(fields);
  return { head, token: tokenOf(head, fields), hasRegisters: Number(fields[HEAD_FIELDS + 1]) > 0 };
}

/** Behind the head stands how often the shard has changed, nothing where it never has. */
function tokenOf({ epoch, incarnation, version }: ShardHead, fields: readonly Reply[]): string {
  return `${epoch} ${incarnation} ${version} ${fields[HEAD_FIELDS] ?? 0}`;
}

export function relationAnswers(reply: Reply): RelationAnswer[] {
  const fields = list(reply);
  const answers: RelationAnswer[] = [];
  for (let at = 0; at < fields.length; ) {
    const first = fields[at++];
    if (first === "miss" || first === "behind") {
      answers.push({ status: first });
      continue;
    }
    if (first === "decided") {
      answers.push({ status: first, count: numberOrNull(fields[at++]) });
      continue;
    }
    const stamp = Number(fields[at++]);
    answers.push({ status: "ok", seen: Number(first), stamp, count: numberOrNull(fields[at++]) });
  }
  return answers;
}

export function overlay(reply: Reply): ShardOverlay {
  const fields = list(reply);
  const registers: RegisterName[] = [];
  const behind = (from: number) => from + 1 + Number(fields[from]);
  const afterKeys = behind(HEAD_FIELDS);
  const keys = fields.slice(HEAD_FIELDS + 1, afterKeys).map(String);
  const afterSources = behind(afterKeys);
  const sources = fields.slice(afterKeys + 1, afterSources).map(String);
  for (let at = afterSources; at < fields.length; ) {
    const { metric, subject } = parseCount(String(fields[at]));
    const actors = Number(fields[at + 1]);
    at += 2;
    for (const end = at + actors; at < end; at++) registers.push({ metric, subject, actor: String(fields[at]) });
  }
  return { head: headOf(fields), registers, keys, sources };
}

/** Source and number in turn. */
export function lastNumbers(reply: Reply): [source: string, last: number][] {
  const fields = list(reply);
  const found: [string, number][] = [];
  for (let at = 0; at < fields.length; at += 2) found.push([String(fields[at]), Number(fields[at + 1])]);
  return found;
}

export function actors(reply: Reply): [Actor, Stamp][] {
  const fields = list(reply);
  const found: [Actor, Stamp][] = [];
  for (let at = 0; at < fields.length; at += 2) found.push([String(fields[at]), stampOfEntry(fields[at + 1]) ?? 0]);
  return found;
}

/** What the overlay has as "n source". */
export function groupOf(field: string): [source: string, n: number] {
  const space = field.indexOf(" ");
  return [field.slice(space + 1), Number(field.slice(0, space))];
}
