import { expect, test } from "bun:test";
import { unappliedBefore } from "../../src/cluster/expiry.ts";
import { KafkaServer } from "../support/services.ts";
import { message, settingsFor, startProducer } from "./kafka-support.ts";

test("what was not applied before a time is found, however late it is looked for", async () => {
  const kafka = await KafkaServer.start();
  try {
    const settings = settingsFor(kafka.brokers);
    const producer = await startProducer(settings);
    for (let n = 1; n <= 3; n++) await producer.send([message(1, n), message(2, n)]);
    await Bun.sleep(50);
    const timeMs = Date.now();
    await Bun.sleep(50);
    await producer.send([message(1, 4), message(3, 1)]);
    const late = (applied: Record<number, number>) =>
      unappliedBefore(settings, timeMs, new Map(Object.entries(applied).map(([key, next]) => [Number(key), next])));
    expect(await late({ 1: 0, 2: 0, 3: 0, 4: 0 })).toEqual([1, 2]);
    expect(await late({ 1: 2, 2: 3, 3: 0 })).toEqual([1]);
    expect(await late({ 1: 3, 2: 3 })).toEqual([]);
    expect(await late({})).toEqual([1, 2]);
    producer.close();
  } finally {
    await kafka.close();
  }
}, 60_000);
