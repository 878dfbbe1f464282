import { expect, test } from "bun:test";
import { random } from "../../test/support/random.ts";
import { ACTS_UNDER_WAY_MAX, RING_BYTES } from "../limits.ts";
import { ActReceiver, ActSender, ADD_ONCE, allocateActRing, CHANGED, RELATE } from "./acts.ts";
import { RegisterKey } from "./overlay.ts";

function ends() {
  const ring = allocateActRing();
  return { sender: new ActSender(ring), receiver: new ActReceiver(ring) };
}
const once = { key: "00112233445566778899aabbccddeeff", body: "0123456789abcdef" };

test("acts of every size come out as they went in, round the ring many times", () => {
  const { sender, receiver } = ends();
  const { below, chance, pick } = random(1);
  const key = new RegisterKey();
  const sent: object[] = [];
  const got: object[] = [];
  let bytes = 0;
  for (let id = 1; bytes < 5 * RING_BYTES; id++) {
    const subject = `article/${"é".repeat(below(60))}${id}`;
    const actor = chance(0.5) ? `u${id}` : pick(["😀", "x".repeat(128), "%2F"]);
    const isKeyed = chance(0.3);
    key.set(subject, actor, 7);
    const act = {
      id,
      kind: pick([RELATE, ADD_ONCE]),
      metric: 1 + below(255),
      shard: below(256),
      active: chance(0.5),
      by: below(1e6),
      sentMs: 1_795_000_000_000 + id,
    };
    expect(sender.send(act, key, isKeyed ? once : undefined)).toBe(true);
    sent.push({ ...act, subject, actor, hashes: [key.subjectHash, key.actorHash], once: isKeyed ? once : undefined });
    bytes += 24 + key.subjectBytes + key.actorBytes;
    if (chance(0.9)) continue;
    while (receiver.waiting) {
      expect(receiver.nextWaits(1_795_000_000_000 + 2 ** 31 - 1)).toBeGreaterThan(0);
      receiver.next();
      const { act } = receiver;
      const { id, kind, metric, shard, active, by } = act;
      const sentMs = 1_795_000_000_000 + id;
      const hashes = [act.subjectHash, act.actorHash];
      got.push({
        id,
        kind,
        metric,
        shard,
        active,
        by,
        sentMs,
        subject: act.subject(),
        actor: act.actor(),
        hashes,
        once: act.once(),
      });
    }
    receiver.release();
    expect(got.splice(0)).toEqual(sent.splice(0));
  }
});

test("a full ring refuses, and takes again once something was released", () => {
  const { sender, receiver } = ends();
  const key = new RegisterKey();
  key.set("article/1", "x".repeat(100), 0);
  const act = { id: 1, kind: RELATE, metric: 1, shard: 0, active: true, by: 0, sentMs: 0 };
  let sent = 0;
  while (sender.send(act, key, undefined)) sent++;
  expect(sent).toBeGreaterThan(6000);
  expect(receiver.waiting).toBe(true);
  for (let i = 0; i < 100; i++) receiver.next();
  expect(sender.send(act, key, undefined)).toBe(false);
  receiver.release();
  expect(sender.send(act, key, undefined)).toBe(true);
});

test("replies come once each, in order, and the worker is woken once for all since the last time", () => {
  const { sender, receiver } = ends();
  expect(receiver.mustWake()).toBe(false);
  let next = 1;
  for (let round = 0; round < 20; round++) {
    for (let i = 0; i < ACTS_UNDER_WAY_MAX / 3; i++) receiver.reply(next + i, CHANGED, 2 ** 53 - 1, 2 ** 52 - 1);
    expect(receiver.mustWake()).toBe(true);
    expect(receiver.mustWake()).toBe(false);
    sender.replies((id, status, count, stamp) => {
      expect([id, status, count, stamp]).toEqual([next, CHANGED, 2 ** 53 - 1, 2 ** 52 - 1]);
      next++;
    });
  }
  expect(next).toBeGreaterThan(ACTS_UNDER_WAY_MAX * 6);
});
