import { encodeUtf8 } from "../lib/utf8.ts";
import { SUBJECT_SCRATCH_BYTES } from "../limits.ts";
import { shardOfSubject } from "./shard.ts";

const scratch = new Uint8Array(SUBJECT_SCRATCH_BYTES);

/** The shard of a subject as text. */
export function shardOf(subject: string): number {
  return shardOfSubject(scratch, encodeUtf8(subject, scratch, 0));
}
