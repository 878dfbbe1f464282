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
  if (key.length < 1 || key.length > CHARACTERS_MAX)
    throw badInput("Idempotency-Key", `must be 1–${CHARACTERS_MAX} characters, not ${key.length}`);
  const scope = JSON.stringify([call.caller.id, call.method, ...path, key]);
  return digest(scope).slice(0, 32);
}

function bodyDigest(body: string | Uint8Array): string {
  return digest(body).slice(0, 16);
}

function digest(data: string | Uint8Array): string {
  return createHash("sha256").update(data).digest("hex");
}
