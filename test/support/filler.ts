import { SHARDS, shardOf } from "../../src/arithmetic/shard.ts";
import { murmur3 } from "../../src/lib/hash.ts";
import { LOG_FILE_BYTES, NOTE_BYTES_MAX } from "../../src/limits.ts";
import { LogHead, LogWriter } from "../../src/local/log.ts";
import { FrameWriter, NO_SLOT } from "../../src/records.ts";

const SUBJECT = "filler/1";

/** Fills a new log's first file up to `left` bytes, so that the next file is soon needed; in frames of about `frameBytes`. */
export function fillLog(folder: string, left: number, frameBytes = NOTE_BYTES_MAX): void {
  const head = new LogHead();
  const log = new LogWriter(folder, head);
  const shard = shardOf(murmur3(Buffer.from(SUBJECT), 0, SUBJECT.length, 0)) % SHARDS;
  const frame = new FrameWriter();
  const record = {
    kind: "tally",
    shard,
    metric: 1,
    subject: SUBJECT,
    amount: 1,
    slot: NO_SLOT,
    notedAfter: 0,
  } as const;
  for (let n = 0; ; ) {
    const room = Math.min(LOG_FILE_BYTES - left - head.position, frameBytes);
    if (room < 1024) break;
    frame.begin("f111e4");
    while (frame.size < room - 512) frame.add({ ...record, n: ++n, atMs: Date.UTC(2026, 0, 1) });
    log.append(frame.finish());
  }
  log.close();
}
