import { afterAll, beforeAll, expect } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TestServer } from "./server.ts";

export interface Reply {
  status: number;
  headers: Headers;
  text: string;
  // biome-ignore lint/suspicious/noExplicitAny: tests say what they expect in it
  json: any;
}

export interface Sending {
  headers?: Record<string, string>;
  /** Sent as JSON. */
  json?: unknown;
  /** Sent as it is, with no content type of its own. */
  body?: string | Uint8Array;
}

/** Speaks to one server as its users do. */
export class Api {
  url = "";
  pid = 0;

  async send(method: string, path: string, { headers = {}, json, body }: Sending = {}): Promise<Reply> {
    const isJson = json !== undefined;
    const answer = await fetch(new URL(path, this.url), {
      method,
      headers: isJson ? { "content-type": "application/json", ...headers } : headers,
      ...(isJson ? { body: JSON.stringify(json) } : body === undefined ? {} : { body }),
      redirect: "manual",
    });
    const text = await answer.text();
    expect(answer.headers.get("x-request-id")).toBeTruthy();
    const isProblem = answer.headers.get("content-type") === "application/problem+json";
    if (isProblem && method !== "HEAD") expect(JSON.parse(text)).toMatchObject({ status: answer.status });
    return {
      status: answer.status,
      headers: answer.headers,
      text,
      json: text.startsWith("{") ? JSON.parse(text) : null,
    };
  }

  get = (path: string, sending?: Sending) => this.send("GET", path, sending);
  post = (path: string, sending?: Sending) => this.send("POST", path, sending);
  put = (path: string, sending?: Sending) => this.send("PUT", path, sending);
  delete = (path: string, sending?: Sending) => this.send("DELETE", path, sending);
}

/** A server of its own for the tests of a file or a describe. */
export function useServer(options: { args?: string[]; env?: Record<string, string> } = {}): Api {
  const api = new Api();
  let server: TestServer | undefined;
  let data: string;
  beforeAll(async () => {
    data = mkdtempSync(join(tmpdir(), "tally-"));
    server = await TestServer.start({ data, ...options });
    api.url = server.url;
    api.pid = server.pid;
  });
  afterAll(async () => {
    await server?.stop();
    rmSync(data, { recursive: true, force: true });
  });
  return api;
}

let ids = 0;
/** The path of a subject that no other test counts on. */
export function freshSubject(type = "article"): { subject: string; path: string } {
  const id = `fresh-${++ids}`;
  return { subject: `${type}/${id}`, path: `/v1/subjects/${type}/${id}` };
}

export function expectProblem(reply: Reply, status: number, code: string): void {
  expect(reply.json, reply.text).toMatchObject({ type: `/problems/${code}`, status });
  expect(reply.status).toBe(status);
  expect(reply.headers.get("content-type")).toBe("application/problem+json");
  expect(reply.json.title).toBeString();
  expect(reply.json.detail).toBeString();
}

/** 400 that names the place. */
export function expectBadInput(reply: Reply, ...at: string[]): void {
  expectProblem(reply, 400, "bad-input");
  expect(reply.json.errors.map((error: { at: string }) => error.at)).toEqual(at);
  for (const { message } of reply.json.errors) expect(message).toBeString();
}
