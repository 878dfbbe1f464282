import type { Settings } from "../config.ts";
import { EXIT, isSystemError, StartError } from "../errors.ts";
import { openArchive } from "../open.ts";
import { exportLines } from "../transfer/lines.ts";
import { needDataFolder } from "./data-folder.ts";

/** Everything as text on stdout, as fast as whoever reads it takes it. */
export async function run(settings: Settings): Promise<number> {
  needDataFolder(settings);
  const source = await openArchive(settings).source();
  // Each write says itself what became of it.
  process.stdout.on("error", () => undefined);
  try {
    for await (const chunk of exportLines(source)) await write(chunk).catch(refuse);
  } catch (error) {
    if (error === ENOUGH) return EXIT.unavailable;
    throw error;
  } finally {
    await source.close();
  }
  return EXIT.ok;
}

/** Who reads has had enough before the end (`| head`): nobody has to be told, but an end it is not. */
const ENOUGH = Symbol("enough");

function write(chunk: string): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(chunk, (error) => (error ? reject(error) : resolve()));
  });
}

function refuse(error: unknown): never {
  if (!isSystemError(error)) throw error;
  if (error.code === "EPIPE") throw ENOUGH;
  throw new StartError(`the export cannot be written to stdout: ${error.message}`, EXIT.unavailable);
}
