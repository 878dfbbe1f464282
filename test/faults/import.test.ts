import { describe, expect, test } from "bun:test";
import { manyLines, withSites } from "../support/archive.ts";
import { EMBEDDED } from "../support/contract.ts";
import { NUMBERED_POINTS } from "../support/fault-points.ts";

describe("a server that dies while an import is under way", () => {
  test.each(NUMBERED_POINTS)(
    "at %s: the same import again, and every line counts once",
    async (point) => {
      await withSites(EMBEDDED, 1, async (site) => {
        const { text, counts } = manyLines(12_000, 9);
        for (const times of [1, 4]) {
          const server = await site.serve(`${point}:${times}`);
          const died = await site.import(text);
          expect(died.status, died.stderr).toBe(69);
          expect(await server.ended).toMatchObject({ signal: "SIGKILL" });
          expect(server.stderr).toContain(`fault: ${point}`);
        }
        const server = await site.serve();
        const last = await site.import(text);
        expect([last.status, last.stdout]).toEqual([0, expect.stringMatching(/relations; [\d,]+ of them/)]);
        for (const [subject, expected] of counts)
          expect(await server.json(`/v1/subjects/${subject}`), subject).toMatchObject({ counts: expected });
        expect(await site.verify()).toBe("");
      });
    },
    120_000,
  );

  test("there are such points", () => {
    expect(NUMBERED_POINTS.length).toBeGreaterThan(2);
  });
});
