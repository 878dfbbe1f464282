import { expect, test } from "bun:test";
import RequestQueue from "kafkajs/src/network/requestQueue/index.js";
import "./idle.ts";

type Queue = Pick<RequestQueue, "throttledUntil" | "throttleCheckTimeoutId" | "checkPendingRequests"> & {
  pending: unknown[];
};

function queue(pending: unknown[]): { queue: Queue; schedule(): void } {
  const made: Queue = { pending, throttledUntil: -1, throttleCheckTimeoutId: null, checkPendingRequests() {} };
  return {
    queue: made,
    schedule: () => RequestQueue.prototype.scheduleCheckPendingRequests.call(made as unknown as RequestQueue),
  };
}

test("nothing waits: no timer", () => {
  const { queue: idle, schedule } = queue([]);
  schedule();
  expect(idle.throttleCheckTimeoutId).toBeNull();
});

test("something waits: it is looked at soon, and once", async () => {
  const { queue: busy, schedule } = queue(["request"]);
  const looked = Promise.withResolvers<void>();
  busy.checkPendingRequests = looked.resolve;
  schedule();
  const timer = busy.throttleCheckTimeoutId;
  expect(timer).not.toBeNull();
  schedule();
  expect(busy.throttleCheckTimeoutId).toBe(timer);
  await looked.promise;
  expect(busy.throttleCheckTimeoutId).toBeNull();
});
