import type { MiddlewareHandler } from "hono";
import { badInput, Problem } from "../errors.ts";
import { jsonPlace } from "../lib/json-place.ts";
import { JSON_BODY_BYTES_MAX } from "../limits.ts";
import type { Call } from "./call.ts";

/** Reads a JSON body, or none, for the validator behind it: 413, 415 and 400 with the place are decided here. */
export const jsonBody: MiddlewareHandler<{ Bindings: Call }> = async (c, next) => {
  const call = c.env;
  const body = await bytesOf(call.request, call.headers["content-length"]);
  call.body = body;
  const text = body.length > 0 ? jsonOf(body, call.headers["content-type"]) : "{}";
  c.req.bodyCache.text = Promise.resolve(text) as unknown as string;
  await next();
};

async function bytesOf(request: Request, length: string | undefined): Promise<Uint8Array> {
  if (request.body === null) return new Uint8Array(0);
  if (Number(length) > JSON_BODY_BYTES_MAX) throw tooLarge();
  const chunks: Uint8Array[] = [];
  let total = 0;
  for await (const chunk of request.body) {
    total += chunk.length;
    if (total > JSON_BODY_BYTES_MAX) throw tooLarge();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function jsonOf(body: Uint8Array, contentType: string | undefined): string {
  const type = contentType?.split(";", 1)[0]?.trim().toLowerCase();
  if (type !== "application/json") {
    const given = contentType === undefined ? "it has no Content-Type" : `not ${contentType}`;
    throw new Problem("wrong-content-type", `a body here is application/json; ${given}`);
  }
  const text = textOf(body);
  try {
    JSON.parse(text);
  } catch {
    throw badInput("", `the body is not JSON: ${jsonPlace(text) ?? "line 1, column 1"}`);
  }
  return text;
}

function textOf(body: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(body);
  } catch {
    throw badInput("", "the body is not valid UTF-8");
  }
}

function tooLarge(): Problem {
  return new Problem("too-large", `a body here has at most ${JSON_BODY_BYTES_MAX} bytes`);
}
