import { type Child, startChild } from "./children.ts";

const START_SECONDS_MAX = 120;
/** A clean stop is promised within 10 s. */
const STOP_SECONDS_MAX = 15;
const LINES_KEPT = 20;

/** A server under test, started and listening. */
export interface Server {
  readonly url: string;
  readonly pid: number;
  /** From the start of the process to the line that says it listens. */
  readonly listeningMs: number;
  /** SIGTERM; throws when the process does not end cleanly. */
  stop(): Promise<void>;
  /** SIGKILL. */
  kill(): Promise<void>;
}

/** Starts a server and waits for its line `{"msg":"listening","url":"http://…"}`. */
export async function startServer(command: readonly string[], options: { cwd: string }): Promise<Server> {
  const startedMs = performance.now();
  const child = startChild(command, { cwd: options.cwd, env: withoutSettings() });
  const lines: string[] = [];
  const listening = Promise.withResolvers<string>();
  void keepLines(child.stderr, lines, () => {});
  void keepLines(child.stdout, lines, (line) => {
    const url = urlIn(line);
    if (url) listening.resolve(url);
  });
  void child.exited.then((status) => listening.reject(new Error(`ended with status ${status}`)));
  const timer = setTimeout(() => listening.reject(new Error("does not listen")), START_SECONDS_MAX * 1000);
  try {
    const url = await listening.promise;
    return { url, pid: child.pid, listeningMs: performance.now() - startedMs, ...endings(child, lines) };
  } catch (error) {
    child.kill("SIGKILL");
    throw new Error(`${command.join(" ")}: ${(error as Error).message}\n${lines.join("\n")}`);
  } finally {
    clearTimeout(timer);
  }
}

function endings(child: Child, lines: readonly string[]): Pick<Server, "stop" | "kill"> {
  return {
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) throw new Error(`server is gone:\n${lines.join("\n")}`);
      child.kill("SIGTERM");
      const timer = setTimeout(() => child.kill("SIGKILL"), STOP_SECONDS_MAX * 1000);
      const status = await child.exited;
      clearTimeout(timer);
      if (status !== 0) throw new Error(`server stopped with status ${status}:\n${lines.join("\n")}`);
    },
    async kill() {
      child.kill("SIGKILL");
      await child.exited;
    },
  };
}

/** Reads a stream to its end, so that the server never waits for it, and keeps its last lines for an error message. */
async function keepLines(stream: ReadableStream<Uint8Array>, kept: string[], see: (line: string) => void) {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of stream) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      see(line);
      kept.push(line);
      if (kept.length > LINES_KEPT) kept.shift();
    }
  }
}

function urlIn(line: string): string | undefined {
  if (!line.startsWith("{") || !line.includes("listening")) return undefined;
  const { url } = JSON.parse(line) as { url?: unknown };
  return typeof url === "string" ? url.replace(/\/$/, "") : undefined;
}

/** The bench measures defaults, whatever the shell of the user says. */
function withoutSettings(): Record<string, string> {
  return Object.fromEntries(
    Object.entries(process.env).filter((entry): entry is [string, string] => !entry[0].startsWith("TALLY_")),
  );
}
