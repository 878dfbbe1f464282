import { expect, test } from "bun:test";
import { shardOf } from "../arithmetic/shard-of.ts";
import type { RegisterName, ShardVersion } from "../ports/hot-store.ts";
import { FilterCheck } from "./check-filters.ts";

const TRIES = 4;
const ONE = { metric: 3, subject: "article/1", actor: "7" };

/** What the two sides say at each look, the last for ever. `version`: of the copy, null where there is none. */
interface Look {
  ledger: { version: number; incarnation?: string; stamp: number };
  redis: { version: number; isNever: boolean } | null;
}

/** A check of a ledger with so many registers, of which Redis' filter is asked; what it says and does. */
async function check(
  looks: Look[],
  { repair = false, registers = [ONE] }: { repair?: boolean; registers?: RegisterName[] } = {},
) {
  const said: string[] = [];
  const done: string[] = [];
  let look = -1;
  const at = () => looks[Math.min(Math.max(look, 0), looks.length - 1)] as Look;
  const one = new FilterCheck({
    ledger: {
      everyRegister: async function* () {
        for (let from = 0; from < registers.length; from += 60) yield registers.slice(from, from + 60);
      },
      async versionOf(shard, asked) {
        look++;
        const { version, incarnation = "i", stamp } = at().ledger;
        const head: ShardVersion = { shard, incarnation, version, position: 0, last: [] };
        return { version: head, stamps: asked.map(() => stamp), stored: [] };
      },
    },
    inspector: {
      async never(asked) {
        const { redis } = at();
        return asked.map(({ registers: of }) => {
          const isNever = redis?.isNever && !done.some((each) => each.startsWith("unfilter"));
          return redis && { incarnation: "i", version: redis.version, never: isNever ? [...of] : [] };
        });
      },
      async unfilter(shard) {
        done.push(`unfilter ${shard}`);
      },
    },
    filler: {
      want: (shards) => done.push(`want ${[...shards]}`),
      fill: async () => void done.push("fill"),
    },
    nameOf: (metric) => `m${metric}`,
    repair,
    differs: (text, isMended) => said.push(`${text}${isMended ? " (mended)" : ""}`),
    tries: TRIES,
    pauseMs: 0,
  });
  await one.run();
  return { said, done, looks: look + 1, registers: one.registers };
}

const shard = shardOf(ONE.subject);
const NAMED = `Redis, shard ${shard}: the filter says never of m3 of 7 on article/1`;
const NEVER = { ledger: { version: 5, stamp: 9 }, redis: { version: 5, isNever: true } };
const BEHIND = { ledger: { version: 5, stamp: 9 }, redis: { version: 4, isNever: true } };

test("what is never at one version is named", async () => {
  expect(await check([NEVER])).toEqual({ said: [NAMED], done: [], looks: 1, registers: 1 });
  expect((await check([BEHIND, BEHIND, NEVER])).said).toEqual([NAMED]);
});

test("a filter that was not told of a commit yet is waited for", async () => {
  const told = { ledger: { version: 5, stamp: 9 }, redis: { version: 5, isNever: false } };
  expect(await check([BEHIND, BEHIND, told])).toMatchObject({ said: [], looks: 3 });
  expect(await check([BEHIND])).toMatchObject({ said: [], looks: TRIES });
  const ahead = { ledger: { version: 5, stamp: 9 }, redis: { version: 6, isNever: true } };
  expect((await check([ahead, told])).said).toEqual([]);
});

test("nothing is said of what the ledger has not any more, of another ledger, or where there is no copy", async () => {
  expect((await check([{ ...NEVER, ledger: { version: 5, stamp: 0 } }])).said).toEqual([]);
  expect((await check([{ ...NEVER, ledger: { version: 5, stamp: 9, incarnation: "j" } }])).said).toEqual([]);
  expect(await check([{ ...NEVER, redis: null }])).toMatchObject({ said: [], looks: 0 });
});

test("to mend it takes the filter away, and fills it at the end", async () => {
  const { said, done } = await check([NEVER], { repair: true });
  expect([said, done]).toEqual([[`${NAMED} (mended)`], [`unfilter ${shard}`, `want ${shard}`, "fill"]]);
});

test("of many names the first hundred of each shard", async () => {
  const registers = Array.from({ length: 250 }, (_, i) => ({ ...ONE, actor: `${i}` }));
  const { said, looks } = await check([NEVER], { registers });
  expect([said.length, looks]).toEqual([100, 2]);
  expect(said.filter((text) => text.includes("no more of this filter"))).toEqual([said.at(-1) as string]);
});
