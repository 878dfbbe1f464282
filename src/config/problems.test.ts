import { expect, test } from "bun:test";
import { SettingsError } from "./problems.ts";

const wrong = (name: "redisUrl" | "mysqlUrl") => SettingsError.of(name, "x://u:geheim@h", "must be another one");

test("what several looks find wrong is said together", async () => {
  const gathered = SettingsError.gather([Promise.reject(wrong("mysqlUrl")), Promise.reject(wrong("redisUrl"))]);
  const error = await gathered.catch((thrown) => thrown);
  expect(error.message).toBe(
    "2 settings are wrong\n  --mysql-url = x://u:***@h: must be another one\n  --redis-url = x://u:***@h: must be another one",
  );
  const bug = Promise.reject(new Error("a bug"));
  bug.catch(() => undefined);
  expect(await SettingsError.gather([bug, Promise.reject(wrong("redisUrl"))]).catch(String)).toContain("--redis-url");
  expect(await SettingsError.gather([bug, Promise.resolve(1)]).catch(String)).toBe("Error: a bug");
  expect(await SettingsError.gather([Promise.resolve("a"), Promise.resolve(1)])).toEqual(["a", 1]);
});
