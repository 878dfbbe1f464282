import type { MiddlewareHandler } from "hono";
import { badInput, Problem } from "../errors.ts";
import { jsonPlace } from "../lib/json-place.ts";
import { JSON_BODY_BYTES_MAX } from "../limits.ts";
import type { Call } from "./call.ts";

/** Reads a JSON body, or none, for the validator behind it: 413, 415 and 400 with the place are decided here. */
export const jsonBody: MiddlewareHandler<{ Bindings: Call }> = async (c, next) => {
  const call = c.env;
  const body = await bytesOf(call, JSON_BODY_BYTES_MAX);
  call.body = body;
  const text = body.length > 0 ? jsonTextOf(body, call.headers["content-type"]) : "{}";
  c.req.bodyCache.text = Promise.resolve(text) as unknown as string;
  await next();
};

/** A JSON body of at most so many bytes, for who checks it himself; `{}` where there is none. */
export async function readJson(call: Call, bytesMax: number): Promise<unknown> {
  const body = await bytesOf(call, bytesMax);
  if (body.length === 0) return {};
  checkType(call.headers["content-type"]);
  return parsed(textOf(body));
}

async function bytesOf(call: Call, bytesMax: number): Promise<Uint8Array> {
  const { request } = call;
  if (request.body === null) return new Uint8Array(0);
  const length = Number(request.headers.get("content-length") ?? Number.NaN);
  if (length > bytesMax) throw tooLarge(bytesMax);
  refuseEncoding(call);
  try {
    // With a length Bun reads no more than that, and all at once is faster than by chunks.
    if (length >= 0) return await request.bytes();
    const chunks: Uint8Array[] = [];
    let total = 0;
    for await (const chunk of request.body) {
      total += chunk.length;
      if (total > bytesMax) throw tooLarge(bytesMax);
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  } catch (error) {
    throw cutOr(error);
  }
}

/** A connection that ended before its body did is nobody's fault here; nobody gets this answer either. */
export function cutOr(error: unknown): unknown {
  // Bun's word for it.
  const isCut = error instanceof Error && error.name === "AbortError";
  return isCut ? new Problem("bad-input", "the connection broke in the middle of the body") : error;
}

/** Bodies come as they are: one that is compressed would be read as text, and found wrong line by line. */
export function refuseEncoding({ headers }: Pick<Call, "headers">): void {
  const coding = headers["content-encoding"];
  if (coding === undefined || /^\s*(?:identity)?\s*$/i.test(coding)) return;
  const detail = `a body here has no Content-Encoding; not ${coding}`;
  throw new Problem("wrong-content-type", detail, { headers: { "accept-encoding": "identity" } });
}

function jsonTextOf(body: Uint8Array, contentType: string | undefined): string {
  checkType(contentType);
  const text = textOf(body);
  parsed(text);
  return text;
}

function checkType(contentType: string | undefined): void {
  if (contentTypeOf(contentType) !== "application/json") {
    const given = contentType === undefined ? "it has no Content-Type" : `not ${contentType}`;
    throw new Problem("wrong-content-type", `a body here is application/json; ${given}`);
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw badInput("", `the body is not JSON: ${jsonPlace(text) ?? "line 1, column 1"}`);
  }
}

/** Without its parameters. */
export function contentTypeOf(header: string | undefined): string | undefined {
  return header?.split(";", 1)[0]?.trim().toLowerCase();
}

function textOf(body: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(body);
  } catch {
    throw badInput("", "the body is not valid UTF-8");
  }
}

function tooLarge(bytesMax: number): Problem {
  return new Problem("too-large", `a body here has at most ${bytesMax} bytes`);
}
