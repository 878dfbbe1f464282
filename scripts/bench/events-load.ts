import type { Run } from "./oha.ts";

export type EventFormat = "text" | "ndjson";

const SUBJECTS = 100_000;
/** Lines are made beforehand, so many bytes of them, and sent again and again. */
const BLOCK_BYTES = 256 * 1024;
const BLOCKS = 16;
const BODY_BYTES_MAX = 250 * 1024 * 1024;

const LINES: Record<EventFormat, (id: number) => string> = {
  text: (id) => `views article/${id}\n`,
  ndjson: (id) => `{"metric":"views","subject":"article/${id}"}\n`,
};
const TYPES: Record<EventFormat, string> = { text: "text/plain", ndjson: "application/x-ndjson" };

/** Lines that each count one view of one of 100,000 subjects, on one connection, for at least so long. */
export async function sendEvents(url: string, format: EventFormat, seconds: number): Promise<Run> {
  const { blocks, lines, bytes } = blocksOf(format);
  const { hostname, port, host } = new URL(url);
  let sent = 0;
  let ms = 0;
  while (ms < seconds * 1000) {
    const rounds = Math.max(1, Math.min(Math.floor(BODY_BYTES_MAX / bytes), Math.ceil(sent / lines)));
    const head = `POST /v1/events HTTP/1.1\r\nhost: ${host}\r\ncontent-type: ${TYPES[format]}\r\n`;
    const began = performance.now();
    const body = Array.from({ length: rounds }, () => blocks).flat();
    const answer = await send(
      { hostname, port: Number(port) },
      `${head}content-length: ${rounds * bytes}\r\n\r\n`,
      body,
    );
    ms += performance.now() - began;
    if (!answer.includes(`"accepted":${rounds * lines},"rejected":0`))
      throw new Error(`not all was counted: ${answer}`);
    sent += rounds * lines;
  }
  return { requests: sent, accepted: 0, requestsPerSecond: (sent / ms) * 1000, ...NO_LATENCIES };
}

/** Of a stream there is one answer. */
export const NO_LATENCIES = { p50Ms: 0, p99Ms: 0, p999Ms: 0, maxMs: 0 };

function blocksOf(format: EventFormat): { blocks: Uint8Array[]; lines: number; bytes: number } {
  const blocks: Uint8Array[] = [];
  let lines = 0;
  for (let i = 0; i < BLOCKS; i++) {
    let text = "";
    for (; text.length < BLOCK_BYTES; lines++) text += LINES[format](Math.floor(Math.random() * SUBJECTS));
    blocks.push(Buffer.from(text));
  }
  return { blocks, lines, bytes: blocks.reduce((sum, { length }) => sum + length, 0) };
}

/** The answer to one request. */
async function send(
  address: { hostname: string; port: number },
  head: string,
  body: readonly Uint8Array[],
): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  let next = 0;
  let written = 0;
  const write = (socket: { write(bytes: Uint8Array): number }): void => {
    while (next < body.length) {
      const block = body[next] as Uint8Array;
      const now = socket.write(written === 0 ? block : block.subarray(written));
      if (now < 0) return;
      written += now;
      if (written < block.length) return;
      written = 0;
      next++;
    }
  };
  const socket = await Bun.connect({
    ...address,
    socket: {
      drain: write,
      data: (_, data) => resolve(data.toString()),
      close: () => reject(new Error("the server closed the connection")),
      error: (_, error) => reject(error),
    },
  });
  socket.write(head);
  write(socket);
  try {
    return await promise;
  } finally {
    socket.end();
  }
}
