import { expect, test } from "bun:test";
import { LedgerUnavailable } from "../../ports/ledger.ts";
import { asUnavailable, LedgerConnection, PATIENT } from "./connection.ts";

const answered = (errno: number) => asUnavailable(Object.assign(new Error("no"), { errno, code: "ER_X" }));

test.each([
  ["a node of a Galera cluster that is not part of it now", 1047],
  ["a statement longer than max_allowed_packet", 1153],
  ["a commit that did not come about", 1180],
  ["more locks than there is room for", 1206],
  ["a group that has lost its majority", 3100],
  ["a commit that the group has refused", 3101],
])("%s is no message's fault", (_, errno) => {
  expect(answered(errno)).toBeInstanceOf(LedgerUnavailable);
});

test("a value that a column cannot hold is", () => {
  expect(answered(1406)).not.toBeInstanceOf(LedgerUnavailable);
});

test("a server whose name nobody knows now is away, as one that was stopped in Docker or Kubernetes is", async () => {
  const error = await LedgerConnection.open("mysql://tally:secret@mysql.invalid/tally", PATIENT).catch((it) => it);
  expect(error).toBeInstanceOf(LedgerUnavailable);
});
