import { parentPort, workerData } from "node:worker_threads";
import { Claims, type ClaimsShare } from "../../src/visitors/claims.ts";
import { keyName } from "../../src/visitors/fingerprint.ts";

export interface ClaimsWork {
  share: ClaimsShare;
  thread: number;
  /** All begin when this becomes 1. */
  gate: SharedArrayBuffer;
  names: number;
  nowMs: number;
}

/** Claims every name once, each thread in an order of its own; tells how many it was granted. */
const { share, thread, gate, names, nowMs } = workerData as ClaimsWork;
const claims = Claims.attach(share, thread);
parentPort?.postMessage("ready");
Atomics.wait(new Int32Array(gate), 0, 0);
const granted: number[] = [];
for (let i = 0; i < names; i++) {
  const n = thread % 2 === 0 ? i : names - 1 - i;
  if (claims.claim(keyName(String(n)), { nowMs, windowMs: 60_000, owner: 0 }) === "new") granted.push(n);
}
parentPort?.postMessage(granted);
