import { describe, expect, test } from "bun:test";
import { type Api, expectProblem, freshSubject, type Reply } from "../support/contract.ts";
import { eventually } from "../support/eventually.ts";

const MiB = 1024 * 1024;

/** What holds for every body: how it may come, how large it may be, and what is said where it does not. */
export function bodies(api: Api): void {
  describe("bodies", () => {
    test("none needs no type, also where nobody said how long it would be", async () => {
      const { path } = freshSubject();
      const chunked = "transfer-encoding: chunked\r\n";
      expect(replyOf(await raw(api.url, `POST ${path}/views`, chunked, "0\r\n\r\n")).json).toEqual({ count: 1 });
      const nothing = { accepted: 0, rejected: 0, errors: [] };
      expect(replyOf(await raw(api.url, "POST /v1/events", chunked, "0\r\n\r\n")).json).toEqual(nothing);
      const typed = replyOf(await raw(api.url, "POST /v1/events", chunked, "5\r\nviews\r\n0\r\n\r\n"));
      expectProblem(typed, 415, "wrong-content-type");
    });

    test.each([
      ["POST", "/v1/subjects/article/large/views", "application/json", 64 * 1024],
      ["POST", "/v1/query", "application/json", MiB],
      ["POST", "/v1/stream", "application/json", MiB],
      ["POST", "/v1/events", "text/plain", 256 * MiB],
    ])("%s %s: more than the bound is 413, however much more", async (method, path, type, bound) => {
      for (const length of [bound + 1, 300 * MiB, 2 ** 40]) {
        const head = `content-type: ${type}\r\ncontent-length: ${length}\r\n`;
        const reply = replyOf(await raw(api.url, `${method} ${path}`, head, "x"));
        expectProblem(reply, 413, "too-large");
        expect(reply.headers.get("x-request-id")).toBeTruthy();
      }
    });

    test("compressed ones are 415", async () => {
      const { path } = freshSubject();
      const body = Bun.gzipSync(new TextEncoder().encode("{}"));
      const headers = (type: string) => ({ "content-encoding": "gzip", "content-type": type });
      for (const [to, type] of [
        [`${path}/views`, "application/json"],
        ["/v1/query", "application/json"],
        ["/v1/events", "text/plain"],
      ] as const) {
        const reply = await api.post(to, { body, headers: headers(type) });
        expectProblem(reply, 415, "wrong-content-type");
        expect(reply.headers.get("accept-encoding")).toBe("identity");
      }
      const plain = { "content-encoding": "identity", "content-type": "application/json" };
      expect((await api.post(`${path}/views`, { body: '{"by":3}', headers: plain })).json).toEqual({ count: 3 });
    });

    test("one that breaks off counts nothing, and is no error of the server", async () => {
      const one = api.node(0);
      const failed = async () => (await one.get("/v1/stats")).json.requests.errors.total;
      const refused = async () => {
        const { routes } = (await one.get("/v1/stats")).json as {
          routes: { route: string; status: { "4xx": number } }[];
        };
        return routes.find(({ route }) => route === "POST /v1/subjects/:type/:id/:metric")?.status["4xx"] ?? 0;
      };
      const { path } = freshSubject();
      const [failedBefore, refusedBefore] = [await failed(), await refused()];
      const json = "content-type: application/json\r\n";
      await raw(one.url, `POST ${path}/views`, `${json}content-length: 100\r\n`, '{"by":3}', "cut");
      await raw(one.url, `POST ${path}/views`, `${json}transfer-encoding: chunked\r\n`, '8\r\n{"by":3}\r\n', "cut");
      await eventually(async () => expect(await refused()).toBe(refusedBefore + 2));
      expect(await failed()).toBe(failedBefore);
      expect((await one.get(`${path}/views`)).json).toMatchObject({ count: 0 });
    });

    test("what is wrong with all of it is said without a place", async () => {
      const headers = { "content-type": "application/json" };
      const { json } = await api.post(`${freshSubject().path}/views`, { body: "{", headers });
      expect([json.detail, json.errors[0].at]).toEqual(["the body is not JSON: line 1, column 2", ""]);
    });

    test("however much is wrong with it, that is told soon, and not all of it", async () => {
      const fields = Array.from({ length: 80_000 }, (_, i) => [`k${i}`, 1]);
      const began = performance.now();
      const reply = await api.post("/v1/query", { json: Object.fromEntries(fields) });
      expect(performance.now() - began).toBeLessThan(5_000);
      expectProblem(reply, 400, "bad-input");
      expect(reply.json.errors).toHaveLength(100);
      const subjects = Array.from({ length: 1_000 }, () => "none");
      expect((await api.post("/v1/query", { json: { subjects } })).json.errors).toHaveLength(100);
    });

    test("of several preferences for the answer the first holds", async () => {
      const { path } = freshSubject();
      const status = async (prefer: string) => (await api.post(`${path}/views`, { headers: { prefer } })).status;
      expect(await status("return=minimal, return=representation")).toBe(204);
      expect(await status("return=representation, return=minimal")).toBe(200);
    });
  });
}

/** What comes back for bytes as they are. `cut`: the connection ends once they are on the way. */
async function raw(url: string, line: string, head: string, body: string, cut?: "cut"): Promise<string> {
  const { hostname, port } = new URL(url);
  let text = "";
  const { promise: closed, resolve } = Promise.withResolvers<void>();
  const socket = await Bun.connect({
    hostname,
    port: Number(port),
    socket: {
      data: (_socket, bytes) => {
        text += bytes.toString("utf8");
      },
      close: () => resolve(),
      error: () => resolve(),
      end: () => resolve(),
    },
  });
  socket.write(`${line} HTTP/1.1\r\nhost: ${hostname}\r\nconnection: close\r\n${head}\r\n${body}`);
  socket.flush();
  if (cut) {
    // So that the head is read before the connection ends.
    await Bun.sleep(250);
    socket.end();
  }
  await closed;
  socket.end();
  return text;
}

function replyOf(text: string): Reply {
  const [head = "", body = ""] = text.split("\r\n\r\n", 2);
  const [first = "", ...lines] = head.split("\r\n");
  const headers = new Headers(lines.map((line) => line.split(": ", 2) as [string, string]));
  return { status: Number(first.split(" ")[1]), headers, text: body, json: body ? JSON.parse(body) : null };
}
