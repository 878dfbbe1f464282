import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { eventually } from "../../test/support/eventually.ts";
import { LOG_FILE_BYTES } from "../limits.ts";
import { FileLogReader, LogHead, LogWriter, trimLog } from "../local/log.ts";
import type { Position } from "../ports/log.ts";
import { FrameWriter, frameSource } from "../records.ts";
import { KafkaAway } from "./kafka/client.ts";
import type { KafkaProducer } from "./kafka/producer.ts";
import type { OutgoingMessage } from "./kafka/rounds.ts";
import { Lane } from "./lane.ts";
import { parcelsOf } from "./parcels.ts";

const ROOT = mkdtempSync(join(tmpdir(), "tally-lane-"));
afterAll(() => rmSync(ROOT, { recursive: true }));

/** A lane for the frames of `mine`, an outbox that others write to as well, and a Kafka. */
function world() {
  const folder = mkdtempSync(join(ROOT, "outbox-"));
  const head = new LogHead();
  const log = new LogWriter(folder, head, { isLoose: true });
  const sent: string[] = [];
  const kafka = { isUp: true };
  const producer = {
    get isUp() {
      return kafka.isUp;
    },
    async send(messages: readonly OutgoingMessage[]) {
      if (!kafka.isUp) throw new KafkaAway("away");
      sent.push(...messages.map(({ value }) => frameSource(value as Buffer)));
    },
    close: () => undefined,
  };
  let applied: Position = 0;
  const lane = new Lane({
    producer: producer as unknown as KafkaProducer,
    reader: new FileLogReader(folder, head),
    head: () => head.position,
    isMine: (source) => source.startsWith("mine"),
    partitions: 1,
    applied: () => applied,
    from: 0,
    ownFrom: 0,
  });
  const writer = new FrameWriter();
  const append = (source: string, records = 1) => {
    writer.begin(source);
    for (let n = 1; n <= records; n++)
      writer.add({ kind: "relation", shard: 0, n, metric: 1, subject: "a/1", actor: "a".repeat(128), stamp: 3 });
    const frame = Buffer.from(writer.finish());
    return parcelsOf(frame, log.append(frame, false), 1);
  };
  return {
    kafka,
    sent,
    lane,
    append,
    /** Frames of the other lane fill the file, and the ledger has all of it. */
    othersFillFile() {
      const end = head.position + LOG_FILE_BYTES;
      while (head.position < end) append("others", 5_000);
      applied = head.position;
      trimLog(folder, applied);
    },
  };
}

test("a lane that had nothing to send while the outbox was trimmed goes on behind that", async () => {
  const { kafka, sent, lane, append, othersFillFile } = world();
  expect(await lane.ship(append("mine 1"))).toBe(true);
  othersFillFile();
  othersFillFile();
  kafka.isUp = false;
  expect(await lane.ship(append("mine 2"))).toBe(false);
  expect(lane.isEmpty).toBe(false);
  kafka.isUp = true;
  await eventually(async () => expect(lane.isEmpty).toBe(true));
  expect(await lane.ship(append("mine 3"))).toBe(true);
  expect(sent).toEqual(["mine 1", "mine 2", "mine 3"]);
  lane.close();
});
