import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Bench } from "./bench.ts";
import type { FillPlan } from "./fill-plan.ts";
import { BENCH_DIRECTORY } from "./scratch.ts";
import type { Server } from "./server.ts";

const KEPT_DIRECTORY = join(BENCH_DIRECTORY, "data");

/**
 * Starts a server on a copy of a filled data directory. Filling takes minutes, so the directory is kept between runs of
 * the bench, and made again with `--fresh` or when this build does not take it.
 */
export async function startFilled(bench: Bench, name: string, plan: FillPlan): Promise<Server> {
  const kept = join(KEPT_DIRECTORY, name);
  if (bench.options.fresh) rmSync(kept, { recursive: true, force: true });
  if (existsSync(kept)) {
    bench.say(`  reusing ${kept}`);
    try {
      return await bench.startTally(bench.scratch.copyOf(kept));
    } catch (error) {
      bench.say(`  making it again: ${(error as Error).message.split("\n")[0]}`);
      rmSync(kept, { recursive: true });
    }
  }
  await make(bench, kept, plan);
  return bench.startTally(bench.scratch.copyOf(kept));
}

/** The name appears only when all is in it. */
async function make(bench: Bench, kept: string, plan: FillPlan): Promise<void> {
  const data = bench.scratch.directory();
  const server = await bench.startTally(data);
  await bench.fill(server, plan);
  await server.stop();
  mkdirSync(KEPT_DIRECTORY, { recursive: true });
  renameSync(data, kept);
}
