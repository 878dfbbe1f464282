import { expect, test } from "bun:test";
import { useOpened } from "../support/contract.ts";
import { eventually } from "../support/eventually.ts";
import { TwoNodes } from "../support/two-nodes.ts";

const nodes = useOpened(() => TwoNodes.start());

test("what was merged away or erased is shown no more, however much its node goes on with", async () => {
  const api = () => nodes().api(0);
  const path = (subject: string) => `/v1/subjects/${subject}`;
  const [from, to, other] = ["gone/from", "gone/to", "gone/other"].map(path) as [string, string, string];
  await nodes().ways(0).redis.cut();
  for (const each of [`${from}/likes/7`, `${other}/likes/8`, `${other}/likes/9`]) await api().put(each);
  let isOver = false;
  let acts = 0;
  const goOn = async () => {
    while (!isOver) {
      await api().put(`${path("gone/noise")}/likes/n${acts++}`);
      await api().get(path("gone/noise"));
    }
  };
  const load = goOn();
  const shown = async () => ({
    from: (await api().get(`${from}/likes/7`)).json.active,
    mine: (await api().get(`${from}?actor=7`)).json.mine,
    list: (await api().get(`${other}/likes?limit=5`)).json.actors.map(({ actor }: { actor: string }) => actor),
    counts: (await api().get("/v1/actors/8")).json.counts,
  });
  try {
    expect(await shown()).toMatchObject({ from: true, mine: ["likes"], list: ["9", "8"], counts: { likes: 1 } });
    await api().post("/v1/merge", { json: { from: "gone/from", to: "gone/to" } });
    await api().delete("/v1/actors/8");
    await eventually(async () => {
      expect(await nodes().stored("gone/other", "likes")).toBe(1);
      expect((await api().get(`${to}?actor=7`)).json).toMatchObject({ counts: { likes: 1 }, mine: ["likes"] });
    });
    await eventually(
      async () => expect(await shown()).toMatchObject({ from: false, mine: [], list: ["9"], counts: { likes: 0 } }),
      3_000,
    );
  } finally {
    isOver = true;
    await load;
    await nodes().ways(0).redis.heal();
  }
}, 60_000);
