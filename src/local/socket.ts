import { rmSync } from "node:fs";
import { relative } from "node:path";

/**
 * How the other commands reach a running server: HTTP over a socket in the data directory, which only those who may read
 * the data may enter. Answers are lines of JSON as they come.
 */
export interface SocketServer {
  close(): void;
}

export type SocketWork = (path: string, say: (line: object) => void, body: () => Promise<Uint8Array>) => Promise<void>;

export function listenOnSocket(path: string, work: SocketWork): SocketServer {
  rmSync(path, { force: true });
  const server = Bun.serve({
    unix: shortest(path),
    fetch(request, self) {
      // A recount says nothing for longer than the 10 s after which Bun closes a quiet connection.
      self.timeout(request, 0);
      const { pathname, search } = new URL(request.url);
      const body = async () => new Uint8Array(await request.arrayBuffer());
      const encoder = new TextEncoder();
      return new Response(
        new ReadableStream({
          async start(controller) {
            const say = (line: object) => controller.enqueue(encoder.encode(`${JSON.stringify(line)}\n`));
            await work(pathname + search, say, body).catch((error) =>
              say({ error: error instanceof Error ? error.message : `${error}` }),
            );
            controller.close();
          },
        }),
      );
    },
  });
  return {
    close() {
      server.stop(true);
      rmSync(path, { force: true });
    },
  };
}

/** The lines of a running server's answer. */
export async function* askSocket(
  path: string,
  request: string,
  body?: Uint8Array,
): AsyncGenerator<Record<string, unknown>> {
  const options = { unix: shortest(path), method: "POST" };
  const response = await fetch(`http://tally${request}`, body === undefined ? options : { ...options, body });
  if (!response.body) return;
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of response.body) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) yield JSON.parse(line) as Record<string, unknown>;
  }
}

/** A socket's path may have 107 bytes. */
function shortest(path: string): string {
  const fromHere = relative(process.cwd(), path);
  return fromHere.length < path.length ? fromHere : path;
}
