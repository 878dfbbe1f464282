import { afterAll, beforeAll, expect } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TestServer } from "./server.ts";
import { Told } from "./told.ts";

/** Hooks: several servers, on a machine that does much else. */
const START_MS_MAX = 60_000;

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

const ADMIN = /^(?:PUT \/v1\/subjects\/[^/]+\/[^/]+\/[^/]+|DELETE \/v1\/subjects\/[^/]+\/[^/]+|POST \/v1\/merge)$/;

/** Where the servers of a suite run. */
export interface Deployment {
  name: string;
  /** How many of them make one whole. */
  nodes: number;
  /** Opens stores that nobody else uses; the flags name them. */
  open(): Promise<{ flags: string[]; stop(): Promise<void> }>;
}

export const EMBEDDED: Deployment = {
  name: "embedded",
  nodes: 1,
  open: async () => ({ flags: [], stop: async () => undefined }),
};

/**
 * Speaks to the nodes of one deployment in turn, as users behind a load balancer do. What one node has counted of a tally
 * another shows after a flush: before it is asked for that it is waited for.
 */
export class Api {
  urls: string[] = [];
  readonly #told: Told;
  #turn = 0;

  constructor(told = new Told()) {
    this.#told = told;
  }

  /** One of them. */
  node(index: number): Api {
    const api = new Api(this.#told);
    api.urls = [this.urls[index] as string];
    return api;
  }

  /** As one who knows nothing of what others were told, and waits for nothing. */
  alone(): Api {
    const api = new Api();
    api.urls = this.urls;
    return api;
  }

  /** The first one's. */
  get url(): string {
    return this.urls[0] ?? "";
  }

  async send(method: string, path: string, sending: Sending = {}): Promise<Reply> {
    const { headers = {} } = sending;
    const url = this.urls[this.#turn++ % this.urls.length] as string;
    await this.#told.untilShown(url, path, headers);
    for (const subject of mergedAt(path, sending.json)) await this.#told.untilSubjectShown(url, subject, headers);
    const reply = await send(url, method, path, sending);
    if (reply.status === 200) await this.#afterChange(method, path, sending);
    if (method === "POST" && (reply.status === 200 || reply.status === 204)) {
      await this.#told.note(url, path, headers, reply.json?.count ?? null);
    }
    return reply;
  }

  /** Nodes show a lower count after a flush only. */
  async #afterChange(method: string, path: string, { headers = {}, json }: Sending): Promise<void> {
    const isAdmin = ADMIN.test(`${method} ${path}`);
    const merged = mergedAt(path, json);
    const subjects = merged.length > 0 ? merged : Told.subjectAt(path);
    if (isAdmin) await this.#told.untilSame(this.urls, subjects, headers);
  }

  get = (path: string, sending?: Sending) => this.send("GET", path, sending);
  post = (path: string, sending?: Sending) => this.send("POST", path, sending);
  put = (path: string, sending?: Sending) => this.send("PUT", path, sending);
  delete = (path: string, sending?: Sending) => this.send("DELETE", path, sending);
}

/** The subjects of a merge. */
function mergedAt(path: string, json: unknown): string[] {
  return path === "/v1/merge" ? Object.values(json ?? {}).map(String) : [];
}

async function send(url: string, method: string, path: string, { headers = {}, json, body }: Sending): Promise<Reply> {
  const isJson = json !== undefined;
  const answer = await fetch(new URL(path, url), {
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

/** Opens something for the tests of a file or a describe; the function gives it to them. */
export function useOpened<T extends { stop(): Promise<unknown> }>(open: () => Promise<T>): () => T {
  let opened: T | undefined;
  beforeAll(async () => {
    opened = await open();
  }, START_MS_MAX);
  afterAll(async () => {
    await opened?.stop();
  }, START_MS_MAX);
  return () => opened as T;
}

/** Servers of their own, started together, for the tests of a file or a describe. */
export function useServer(
  deployment: Deployment,
  { args = [], env = {} }: { args?: string[]; env?: Record<string, string> } = {},
): Api {
  const api = new Api();
  useOpened(async () => {
    const stores = await deployment.open();
    const folder = mkdtempSync(join(tmpdir(), "tally-"));
    const servers = Array.from({ length: deployment.nodes }, (_, i) =>
      TestServer.spawn({ data: join(folder, String(i)), args: [...stores.flags, ...args], env }),
    );
    await Promise.all(servers.map((server) => server.listening()));
    api.urls = servers.map(({ url }) => url);
    return {
      async stop() {
        const ends = await Promise.all(servers.map((server) => server.stop()));
        for (const [i, end] of ends.entries()) expect(end, servers[i]?.stderr).toEqual({ status: 0, signal: null });
        await stores.stop();
        rmSync(folder, { recursive: true, force: true });
      },
    };
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
