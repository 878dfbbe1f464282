import { closeSync, fstatSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EXIT, isSystemError, StartError } from "../errors.ts";

const CHUNK_BYTES = 1024 * 1024;
const STDIN = 0;

/**
 * What is imported, as a file that can be read twice: all of it is checked before anything is done, and its name is the hash of
 * its bytes. A pipe is copied to a file without a name (TMPDIR), which is gone when the process is, however that ends.
 */
export class Input {
  readonly #fd: number;

  private constructor(fd: number) {
    this.#fd = fd;
  }

  static async open(path: string | undefined): Promise<Input> {
    if (path !== undefined && path !== "-") {
      const fd = openFile(path);
      if (fstatSync(fd).isFile()) return new Input(fd);
      try {
        return new Input(await copied(piecesOf(fd)));
      } finally {
        closeSync(fd);
      }
    }
    if (fstatSync(STDIN).isFile()) return new Input(STDIN);
    if (process.stdin.isTTY) throw new StartError("give it a file, or what to import on stdin", EXIT.usage);
    return new Input(await copied(Bun.stdin.stream()));
  }

  /** From the first byte to the last. Each chunk is its own. */
  *chunks(): Generator<Buffer> {
    for (let at = 0; ; ) {
      const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
      const read = readSync(this.#fd, chunk, 0, CHUNK_BYTES, at);
      if (read === 0) return;
      at += read;
      yield chunk.subarray(0, read);
    }
  }

  close(): void {
    if (this.#fd !== STDIN) closeSync(this.#fd);
  }
}

function openFile(path: string): number {
  try {
    const fd = openSync(path, "r");
    if (!fstatSync(fd).isDirectory()) return fd;
    throw new Error("it is a directory");
  } catch (error) {
    throw new StartError(`${path} cannot be read: ${error instanceof Error ? error.message : error}`, EXIT.noInput);
  }
}

/** All of a pipe that has a name (`<(zcat …)`, /dev/stdin): it knows no places to read from. */
function* piecesOf(fd: number): Generator<Uint8Array> {
  const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
  for (let read = readSync(fd, chunk); read > 0; read = readSync(fd, chunk)) yield chunk.subarray(0, read);
}

async function copied(pieces: Iterable<Uint8Array> | AsyncIterable<Uint8Array>): Promise<number> {
  try {
    const fd = unnamedFile();
    for await (const piece of pieces) {
      for (let done = 0; done < piece.length; ) done += writeSync(fd, piece, done);
    }
    return fd;
  } catch (error) {
    if (!isSystemError(error)) throw error;
    throw new StartError(`what comes through a pipe cannot be kept in ${tmpdir()}: ${error.message}`, EXIT.unavailable);
  }
}

function unnamedFile(): number {
  const folder = mkdtempSync(join(tmpdir(), "tally-import-"));
  try {
    return openSync(join(folder, "input"), "wx+", 0o600);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
