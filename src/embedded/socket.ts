import { rmSync } from "node:fs";
import { relative } from "node:path";
import { EXIT, StartError } from "../errors.ts";

/**
 * Bun closes a connection that was quiet for 10 s, and `server.timeout(request, 0)` does not keep it from that on such a
 * socket. A recount may say nothing for longer: so an empty line goes out now and then.
 */
const BEAT_MS = 3_000;

/**
 * How the other commands reach a running server: HTTP over a socket in the data directory, which only those who may read
 * the data may enter. Answers are lines of JSON as they come.
 */
export interface SocketServer {
  close(): void;
}

type SocketWork = (path: string, say: (line: object) => void, body: Uint8Array) => Promise<void>;

export function listenOnSocket(path: string, work: SocketWork): SocketServer {
  rmSync(path, { force: true });
  const server = Bun.serve({
    unix: shortest(path),
    async fetch(request) {
      const { pathname, search } = new URL(request.url);
      const body = new Uint8Array(await request.arrayBuffer());
      const encoder = new TextEncoder();
      let isOpen = true;
      return new Response(
        new ReadableStream({
          async start(controller) {
            // Who asked may be gone: the work goes on, and nobody hears of it.
            const send = (text: string) => isOpen && controller.enqueue(encoder.encode(text));
            const say = (line: object) => send(`${JSON.stringify(line)}\n`);
            const beat = setInterval(() => send("\n"), BEAT_MS);
            await work(pathname + search, say, body).catch((error) =>
              say({ error: error instanceof Error ? error.message : `${error}` }),
            );
            clearInterval(beat);
            if (isOpen) controller.close();
          },
          cancel() {
            isOpen = false;
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

/** The lines of a running server's answer. Throws StartError where it does not answer: it only just starts, or ends. */
export async function* askSocket(
  path: string,
  request: string,
  body?: Uint8Array,
): AsyncGenerator<Record<string, unknown>> {
  const options = { unix: shortest(path), method: "POST" };
  try {
    const response = await fetch(`http://tally${request}`, body === undefined ? options : { ...options, body });
    if (!response.body) return;
    const decoder = new TextDecoder();
    let rest = "";
    for await (const chunk of response.body) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) if (line !== "") yield JSON.parse(line) as Record<string, unknown>;
    }
  } catch (error) {
    const reason = error instanceof Error ? error.message : error;
    throw new StartError(`the server cannot be reached: ${reason}`, EXIT.unavailable);
  }
}

/** A socket's path may have 107 bytes. */
function shortest(path: string): string {
  const fromHere = relative(process.cwd(), path);
  return fromHere.length < path.length ? fromHere : path;
}
