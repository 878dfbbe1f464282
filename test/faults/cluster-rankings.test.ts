import { expect, test } from "bun:test";
import { eventually } from "../support/eventually.ts";
import { TwoNodes } from "../support/two-nodes.ts";

const TOP = "/v1/top/article/views?window=1h&limit=5";

interface Item {
  subject: string;
  count: number;
}

test("the rankings of a cluster outlive the node that ranks, and MySQL", async () => {
  const nodes = await TwoNodes.start();
  try {
    const view = (index: number, id: string, by: number) =>
      nodes.api(index).post(`/v1/subjects/article/${id}/views`, { json: { by } });
    const top = async (index: number) => {
      const { status, json, headers } = await nodes.api(index).get(TOP);
      if (status !== 200) {
        expect([status, headers.get("retry-after")]).toEqual([503, expect.any(String)]);
        throw new Error(json.detail);
      }
      return json.items.map(({ subject, count }: Item) => [subject, count]);
    };
    const expected = async (indexes: number[], items: [string, number][]) => {
      for (const index of indexes) await eventually(async () => expect(await top(index)).toEqual(items), 30_000);
    };
    await view(0, "a", 3);
    await view(1, "b", 2);
    await expected(
      [0, 1],
      [
        ["article/a", 3],
        ["article/b", 2],
      ],
    );

    // Whoever of them leads: one after the other is killed, and counts nothing twice when it is back.
    for (const killed of [0, 1]) {
      await nodes.server(killed).kill();
      const other = 1 - killed;
      await view(other, "b", 5);
      const b = 2 + 5 * (killed + 1);
      await expected(
        [other],
        [
          ["article/b", b],
          ["article/a", 3],
        ],
      );
      await nodes.startNode(killed);
      await expected(
        [0, 1],
        [
          ["article/b", b],
          ["article/a", 3],
        ],
      );
    }

    await nodes.cluster.mysql.stop();
    await eventually(async () => expect(await top(0).catch(() => "unknown")).toBe("unknown"), 30_000);
    await view(0, "c", 100);
    await nodes.cluster.mysql.start();
    await expected(
      [0, 1],
      [
        ["article/c", 100],
        ["article/b", 12],
        ["article/a", 3],
      ],
    );
  } finally {
    await nodes.stop();
  }
}, 180_000);
