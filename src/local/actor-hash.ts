import { createHash } from "node:crypto";

/** What is kept of an erased actor: 128 bits that say whether it is this one, and not who it was. */
export function actorHash(actor: string): Buffer {
  return createHash("sha256").update(actor).digest().subarray(0, 16);
}
