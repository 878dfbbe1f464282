import { expect, test } from "bun:test";
import { Book } from "../support/book.ts";
import { Load } from "../support/load.ts";
import { random } from "../support/random.ts";
import { inFolder, TestServer } from "../support/server.ts";
import { closeKeyed, verify } from "../support/verify.ts";

/** Of a server that has acknowledged something; others come on top. */
const KILLS = 100;
const SEED = Number(process.env.SEED ?? Date.now() % 100_000);

test(`${KILLS} times SIGKILL under load: everything is as the clients were told (SEED=${SEED})`, async () => {
  const dice = random(SEED);
  const book = new Book();
  await inFolder(async (data) => {
    for (let start = 1, kills = 0; kills < KILLS; start++) {
      const server = TestServer.spawn({ data, args: ["--flush-ms", dice.pick(["20", "100", "1000"])] });
      if (dice.chance(0.1)) {
        // While it recovers from the last one.
        await Bun.sleep(dice.below(200));
        await server.kill();
        continue;
      }
      await server.listening();
      if (start % 5 === 0) await verify(server.url, book);
      expect(book.wrong).toEqual([]);
      const answers = book.answers;
      const load = new Load({ url: server.url, book, seed: SEED + start });
      await Bun.sleep(50 + dice.below(350));
      if (dice.chance(0.1)) {
        // While it stops in order.
        server.signal("SIGTERM");
        await Bun.sleep(dice.below(60));
      }
      const [{ signal }] = await Promise.all([server.kill(), load.stop()]);
      if (signal === "SIGKILL" && book.answers > answers) kills++;
    }
    const server = await TestServer.start({ data });
    await closeKeyed(server.url, book);
    await verify(server.url, book);
    for (const [subject, { acked, most }] of book.keyed) expect([subject, most]).toEqual([subject, acked]);
    expect(await server.stop()).toEqual({ status: 0, signal: null });
    expect(book.wrong).toEqual([]);
    expect(book.answers).toBeGreaterThan(KILLS * 20);
    console.log(`${book.answers} answers, ${book.lost} lost, ${book.refused} refused`);
  });
}, 300_000);
