import { expect, test } from "bun:test";
import { unsafeSettings } from "./topics.ts";

const DAY_MS = 86_400_000;
const SAFE = {
  "cleanup.policy": "delete",
  "unclean.leader.election.enable": "false",
  "retention.ms": String(7 * DAY_MS),
  "retention.bytes": "-1",
  "max.message.bytes": "1048588",
  "message.timestamp.type": "LogAppendTime",
  "min.insync.replicas": "2",
};

function problems(changed: Record<string, string>, replicas = 3, brokers = 3): string[] {
  return unsafeSettings(
    new Map(Object.entries({ ...SAFE, ...changed })),
    { replicas, brokers },
    { logRetention: 7 * DAY_MS },
  );
}

test("what we create is safe", () => {
  expect(problems({})).toEqual([]);
  expect(problems({ "min.insync.replicas": "1" }, 1, 1)).toEqual([]);
  expect(problems({ "min.insync.replicas": "1" }, 2, 2)).toEqual([]);
  expect(problems({ "retention.ms": "-1" })).toEqual([]);
});

test.each([
  ["cleanup.policy", "compact"],
  ["unclean.leader.election.enable", "true"],
  ["retention.ms", String(DAY_MS)],
  ["retention.bytes", "1000000"],
  ["max.message.bytes", "100000"],
  ["message.timestamp.type", "CreateTime"],
  ["min.insync.replicas", "1"],
])("%s = %s is named", (name, value) => {
  const found = problems({ [name]: value });
  expect(found).toHaveLength(1);
  expect(found[0]).toStartWith(name);
});

test("too few replicas where there are brokers for more", () => {
  expect(problems({ "min.insync.replicas": "1" }, 1, 2)).toEqual([
    "replication factor is 1: 2 of 2 brokers should have each record",
  ]);
  expect(problems({ "min.insync.replicas": "1" }, 1, 3)).toEqual([
    "replication factor is 1: 3 of 3 brokers should have each record",
  ]);
});
