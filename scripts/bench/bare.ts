/** What Tally is compared with, run as `bare.ts WORKERS BODY`: Bun.serve on several threads, one JSON body for all. */

const HOST = "127.0.0.1";

/** What the main thread tells a worker: port 0 picks one. */
interface Start {
  readonly body: string;
  readonly port: number;
}

function startWorker(start: Start): Promise<number> {
  const worker = new Worker(import.meta.url);
  const port = Promise.withResolvers<number>();
  worker.onmessage = (event: MessageEvent<number>) => port.resolve(event.data);
  worker.onerror = (event) => port.reject(new Error(event.message));
  worker.postMessage(start);
  return port.promise;
}

function serve({ body, port }: Start): number {
  const headers = { "content-type": "application/json" };
  const fetch = () => new Response(body, { headers });
  const server = Bun.serve({ hostname: HOST, port, reusePort: true, fetch });
  if (server.port === undefined) throw new Error("no port");
  return server.port;
}

if (!Bun.isMainThread) {
  const scope = globalThis as unknown as {
    onmessage: (event: MessageEvent<Start>) => void;
    postMessage(port: number): void;
  };
  scope.onmessage = (event) => scope.postMessage(serve(event.data));
} else if (import.meta.main) {
  const [workers = "1", body = "{}"] = process.argv.slice(2);
  const port = await startWorker({ body, port: 0 });
  for (let started = 1; started < Number(workers); started++) await startWorker({ body, port });
  process.on("SIGTERM", () => process.exit(0));
  console.log(JSON.stringify({ msg: "listening", url: `http://${HOST}:${port}` }));
}
