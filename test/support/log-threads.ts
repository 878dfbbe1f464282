// Four threads that log to one stdout as fast as they can; telemetry/log.test.ts reads it.
import { isMainThread, Worker, workerData } from "node:worker_threads";
import { log, setUpLog } from "../../src/telemetry/log.ts";

const THREADS = 4;
const LINES = 500;

if (isMainThread) {
  for (let thread = 0; thread < THREADS; thread++) new Worker(new URL(import.meta.url), { workerData: thread });
} else {
  setUpLog({ format: "json", level: "info", fd: 1 });
  for (let i = 0; i < LINES; i++) log.info("line", { text: String(workerData).repeat(1 + ((i * 37) % 2000)) });
}
