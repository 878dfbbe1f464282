import { join } from "node:path";
import { runChild } from "./children.ts";

/** Where Go's own archive is unpacked, beside PATH. */
const USUAL = "/usr/local/go/bin/go";
/** A first build fetches the driver and compiles the standard library. */
const BUILD_SECONDS_MAX = 300;

/** Builds a Go program into a folder; the executable. */
export async function buildGo(source: string, folder: string): Promise<string> {
  const go = Bun.which("go") ?? Bun.which(USUAL);
  if (!go) throw new Error("Go is missing: see go.dev/doc/install");
  const program = join(folder, "server");
  await runChild([go, "build", "-C", source, "-buildvcs=false", "-o", program, "."], { secondsMax: BUILD_SECONDS_MAX });
  return program;
}
