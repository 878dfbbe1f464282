import type { Place } from "../arithmetic/place.ts";
import { badInput } from "../errors.ts";
import { SUBJECT_BYTES_MAX } from "../model.ts";

/**
 * A cursor: the place to go on behind (stamp and id), and a check that ties it to its list, so that a cursor of another one is
 * found out. Without an id it is a place behind all of its stamp.
 */
const HEAD_BYTES = 16;

/** `list` names the list with all that decides what is in it. */
export function cursorOf(list: readonly string[], { stamp, id }: Place): string {
  const idBytes = Buffer.from(id);
  const bytes = Buffer.alloc(HEAD_BYTES + idBytes.length);
  bytes.writeBigUInt64BE(BigInt(stamp), 0);
  bytes.writeBigUInt64BE(checkOf(list, { stamp, id }), 8);
  bytes.set(idBytes, HEAD_BYTES);
  return bytes.toString("base64url");
}

/** The place in a cursor of this list; else 400. */
export function placeOf(list: readonly string[], cursor: string): Place {
  const bytes = Buffer.from(cursor, "base64url");
  const idBytes = bytes.length - HEAD_BYTES;
  if (idBytes < 0 || idBytes > SUBJECT_BYTES_MAX || bytes.toString("base64url") !== cursor) throw notOurs();
  const place = { stamp: Number(bytes.readBigUInt64BE(0)), id: bytes.toString("utf8", HEAD_BYTES) };
  if (!Number.isSafeInteger(place.stamp) || bytes.readBigUInt64BE(8) !== checkOf(list, place)) throw notOurs();
  return place;
}

/** The same in every process and version: cursors never expire. */
function checkOf(list: readonly string[], { stamp, id }: Place): bigint {
  return Bun.hash.xxHash64(JSON.stringify(id === "" ? [...list, stamp] : [...list, stamp, id]));
}

function notOurs() {
  return badInput("cursor", "is no cursor of this list");
}
