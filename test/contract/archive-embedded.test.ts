import { expect, test } from "bun:test";
import { withSites } from "../support/archive.ts";
import { EMBEDDED } from "../support/contract.ts";
import { distinctConfig } from "../support/visitors.ts";
import { archive } from "./archive.suite.ts";

archive(EMBEDDED);

test("visitors of distinct tallies come along, and those who come again are known", async () => {
  await withSites(EMBEDDED, 2, async (a, b) => {
    const config = ["--config", distinctConfig()];
    for (const site of [a, b]) site.flags.push(...config);
    const [from, to] = [await a.serve(), await b.serve()];
    const visit = async (url: string, lines: string[]) => {
      const init = { method: "POST", headers: { "content-type": "application/x-ndjson" }, body: lines.join("\n") };
      expect(await (await fetch(`${url}v1/events`, init)).json()).toMatchObject({ accepted: lines.length });
    };
    const line = (subject: string, actor: string) => JSON.stringify({ metric: "plays", subject, actor });
    const many = Array.from({ length: 8_000 }, (_, i) => line("article/many", `v${i}`));
    const few = ["article/😀", "article/a", "article/z"].flatMap((subject) =>
      ["7", "8"].map((it) => line(subject, it)),
    );
    await visit(from.url, [...many, ...few]);
    const text = await a.export();
    expect(text.match(/"visitors"/g)).toHaveLength(4);
    expect((await b.import(text)).status).toBe(0);
    const plays = async (server: typeof to, subject: string) =>
      (await server.json<{ count: number; distinct: { all: number } }>(`/v1/subjects/${subject}/plays`)) as object;
    for (const subject of ["article/many", "article/a", `article/${encodeURIComponent("😀")}`]) {
      const { count, distinct } = (await plays(from, subject)) as { count: number; distinct: { all: number } };
      expect(await plays(to, subject)).toMatchObject({ count, distinct: { all: distinct.all } });
    }
    expect(await b.export()).toBe(text);
    await b.import(text);
    expect(await b.export()).toBe(text);
    await visit(to.url, [line("article/a", "7"), line("article/a", "9")]);
    expect(await plays(to, "article/a")).toMatchObject({ count: 4, distinct: { today: 2, all: 3 } });
    expect(await b.verify()).toBe("");
  });
}, 120_000);
