import { expect, test } from "bun:test";
import { HotStoreAway } from "../../ports/hot-store.ts";
import { CredentialsRefused, refusalError } from "./server.ts";

test.each([
  ["LOADING Redis is loading the dataset in memory", "refuses us"],
  ["ERR max number of clients reached", "refuses us"],
  ["127.0.0.1:6379 does not answer", "cannot be reached"],
  ["connect ECONNREFUSED 127.0.0.1:6379", "cannot be reached"],
  ["ETIMEDOUT", "cannot be reached"],
  ["the server closed the connection", "cannot be reached"],
])("%s: away, and Redis %s", (message, what) => {
  expect(refusalError(message)).toEqual(new HotStoreAway(`Redis ${what}: ${message}`));
});

test.each(["WRONGPASS invalid username-password pair or user is disabled.", "NOAUTH Authentication required."])(
  "%s: nothing that passes",
  (message) => expect(refusalError(message)).toEqual(new CredentialsRefused(message)),
);
