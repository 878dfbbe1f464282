import { existsSync } from "node:fs";
import { EXIT, notSettled, StartError } from "../errors.ts";
import { SETTLE_MS_MAX } from "../limits.ts";
import { filesOf } from "../local/files.ts";
import { takeFolder } from "../local/folder.ts";
import { DataLock } from "../local/lock.ts";
import type { Metric } from "../model.ts";
import type { ExportSource, ImportTarget } from "../ports/archive.ts";
import { SqliteExport } from "./export.ts";
import type { EmbeddedNode } from "./node.ts";
import { askSocket } from "./socket.ts";

type Line = Record<string, unknown>;

/** Starts a node without requests. */
type Start = () => Promise<EmbeddedNode>;

/** Everything counted so far, beside the server that uses the folder, or from the folder alone where there is none. */
export async function exportEmbedded(folder: string, start: Start): Promise<ExportSource> {
  const { socket, ledger } = filesOf(folder);
  if (isServed(folder)) {
    await ask(socket, "/settle");
    return new SqliteExport(ledger);
  }
  const node = await start();
  if (!(await node.settle(SETTLE_MS_MAX))) throw notSettled();
  const source = new SqliteExport(ledger);
  return {
    metrics: source.metrics,
    tallies: () => source.tallies(),
    relations: () => source.relations(),
    async close() {
      source.close();
      await node.stop();
    },
  };
}

export async function importEmbedded(folder: string, start: Start): Promise<ImportTarget> {
  if (isServed(folder)) return ServedImport.open(filesOf(folder).socket);
  const node = await start();
  const { imports } = node;
  return {
    metrics: imports.metrics,
    types: imports.types,
    partitions: imports.partitions,
    last: (source) => imports.last(source),
    append: (frame) => imports.append(frame),
    finish: () => imports.finish(),
    close: () => node.stop(),
  };
}

/** What main of a server answers to the two above. */
export async function serveBeside(node: EmbeddedNode, path: string, body: Uint8Array): Promise<Line> {
  const [route, argument = ""] = path.split("?");
  switch (route) {
    case "/settle":
      if (!(await node.settle(SETTLE_MS_MAX))) throw notSettled();
      return {};
    case "/import/rules":
      return { metrics: node.imports.metrics, types: node.imports.types };
    case "/import/last":
      return { last: await node.imports.last(argument) };
    case "/import":
      await node.imports.append(body);
      return {};
    default:
      throw new Error(`this server has no ${route}`);
  }
}

/** An import through a running server's socket, a frame at a time. */
class ServedImport implements ImportTarget {
  readonly partitions = 1;
  readonly metrics: readonly Metric[];
  readonly types: readonly string[] | null;
  readonly #socket: string;

  private constructor(socket: string, { metrics, types }: Pick<ImportTarget, "metrics" | "types">) {
    this.#socket = socket;
    this.metrics = metrics;
    this.types = types;
  }

  /** What the server lets in, and not this command's settings, decides which lines are right. */
  static async open(socket: string): Promise<ServedImport> {
    const { metrics, types } = await ask(socket, "/import/rules");
    return new ServedImport(socket, { metrics: metrics as Metric[], types: types as string[] | null });
  }

  async last(source: string): Promise<number[]> {
    return (await ask(this.#socket, `/import/last?${source}`)).last as number[];
  }

  async append(frame: Uint8Array): Promise<void> {
    await ask(this.#socket, "/import", frame);
  }

  async finish(): Promise<void> {
    await ask(this.#socket, "/settle");
  }

  async close(): Promise<void> {}
}

/** The answer's last line. */
async function ask(socket: string, request: string, body?: Uint8Array): Promise<Line> {
  let last: Line | null = null;
  for await (const line of askSocket(socket, request, body)) last = line;
  if (last === null) throw new StartError("the server ended meanwhile: try again", EXIT.unavailable);
  if (typeof last.error === "string") throw new StartError(`the server refused: ${last.error}`, EXIT.unavailable);
  return last;
}

function isServed(folder: string): boolean {
  if (!existsSync(folder)) return false;
  const lock = takeFolder(folder, "embedded", DataLock.take);
  lock?.release();
  return lock === null;
}
