import { badInput } from "../errors.ts";

/** A cursor: the stamp to go on below, and a check that ties it to its list, so that a cursor of another one is found out. */
const BYTES = 16;
const CHARACTERS = Math.ceil((BYTES * 4) / 3);

/** `list` names the list with all that decides what is in it. */
export function cursorOf(list: readonly string[], stamp: number): string {
  const bytes = Buffer.alloc(BYTES);
  bytes.writeBigUInt64BE(BigInt(stamp), 0);
  bytes.writeBigUInt64BE(checkOf(list, stamp), 8);
  return bytes.toString("base64url");
}

/** The stamp in a cursor of this list; else 400. */
export function stampOf(list: readonly string[], cursor: string): number {
  if (cursor.length !== CHARACTERS) throw notOurs();
  const bytes = Buffer.from(cursor, "base64url");
  if (bytes.length !== BYTES || bytes.toString("base64url") !== cursor) throw notOurs();
  const stamp = Number(bytes.readBigUInt64BE(0));
  if (!Number.isSafeInteger(stamp) || bytes.readBigUInt64BE(8) !== checkOf(list, stamp)) throw notOurs();
  return stamp;
}

/** The same in every process and version: cursors never expire. */
function checkOf(list: readonly string[], stamp: number): bigint {
  return Bun.hash.xxHash64(JSON.stringify([...list, stamp]));
}

function notOurs() {
  return badInput("cursor", "is no cursor of this list");
}
