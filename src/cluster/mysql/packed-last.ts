import { SHARDS } from "../../arithmetic/shard.ts";

/** A number below 2^53 takes at most so many bytes of seven bits. */
const NUMBER_BYTES_MAX = 8;
export const PACKED_BYTES_MAX = SHARDS * NUMBER_BYTES_MAX;

/**
 * A source's last numbers by shard as bytes: each in groups of seven bits, the low ones first, the eighth bit set where more
 * follow; zeros at the end are left out. A day's run that has touched all shards takes some 500 bytes.
 */
export function packLast(last: ArrayLike<number>): Uint8Array {
  const bytes: number[] = [];
  let used = 0;
  for (let shard = 0; shard < SHARDS; shard++) {
    let left = last[shard] ?? 0;
    for (; left >= 128; left = Math.floor(left / 128)) bytes.push((left % 128) + 128);
    bytes.push(left);
    if (left > 0) used = bytes.length;
  }
  return Uint8Array.from(bytes.slice(0, used));
}

export function unpackLast(bytes: Uint8Array): Float64Array {
  const last = new Float64Array(SHARDS);
  let shard = 0;
  let unit = 1;
  for (const byte of bytes) {
    last[shard] = (last[shard] as number) + (byte % 128) * unit;
    unit *= 128;
    if (byte >= 128) continue;
    shard++;
    unit = 1;
  }
  return last;
}
