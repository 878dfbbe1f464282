import { expect, test } from "bun:test";
import { mysqlUrl, redisUrl } from "./schemas.ts";

test("a password that who reads the URL could not decode is refused here", () => {
  const message = "must have its user and password percent-encoded: % is %25";
  for (const password of ["100%", "50%off", "%ff"]) {
    for (const url of [`redis://u:${password}@a`, `redis+cluster://u:${password}@a:1`])
      expect(redisUrl.safeParse(url).error?.issues).toEqual([expect.objectContaining({ message })]);
    expect(mysqlUrl.safeParse(`mysql://u:${password}@h/d`).error?.issues).toEqual([
      expect.objectContaining({ message }),
    ]);
  }
  expect(redisUrl.parse("redis://u:100%25@a")).toBe("redis://u:100%25@a");
  expect(mysqlUrl.parse("mysql://u:%F0%9F%98%80@h/d?ssl=true")).toBe("mysql://u:%F0%9F%98%80@h/d?ssl=true");
});
