import { isUtf8 } from "node:buffer";
import { createHash } from "node:crypto";
import { badInput } from "../errors.ts";
import type { OnceKey } from "../ports/counting.ts";
import type { Call } from "./call.ts";

const CHARACTERS_MAX = 128;

/**
 * The act that an Idempotency-Key names, or undefined without one. `path` is what the path means: spelt with other
 * percent-encodings it is the same act. The body counts byte by byte, as Stripe's does not: `{"by":3}` and `{"by": 3}`
 * are two bodies.
 */
export function onceOf(call: Call, path: readonly string[]): OnceKey | undefined {
  const key = onceKeyOf(call, path);
  return key === undefined ? undefined : { key, body: bodyDigest(call.body ?? "") };
}

/** Hash of caller, method, path and the Idempotency-Key: 32 hex digits. */
export function onceKeyOf(call: Call, path: readonly string[]): string | undefined {
  const key = call.headers["idempotency-key"];
  if (key === undefined) return undefined;
  const characters = charactersOf(key);
  if (characters < 1 || characters > CHARACTERS_MAX)
    throw badInput("Idempotency-Key", `must be 1–${CHARACTERS_MAX} characters, not ${characters}`);
  const scope = JSON.stringify([call.caller.id, call.method, ...path, key]);
  return digest(scope).slice(0, 32);
}

/** A header arrives with a character for each of its bytes; they are what the caller sent as UTF-8, where they are that. */
function charactersOf(header: string): number {
  if (header.length <= CHARACTERS_MAX) return header.length;
  const bytes = Buffer.from(header, "latin1");
  return isUtf8(bytes) ? [...bytes.toString()].length : header.length;
}

function bodyDigest(body: string | Uint8Array): string {
  return digest(body).slice(0, 16);
}

function digest(data: string | Uint8Array): string {
  return createHash("sha256").update(data).digest("hex");
}
