import { parentPort } from "node:worker_threads";
import { Overlay, type OverlayShare, RegisterKey } from "../../src/embedded/overlay.ts";

/**
 * Reads while another thread writes. words: [the last round that all registers have, the last round the ledger has, stop].
 * A register must have at least the round that was told before the look, or be gone because the ledger had that round.
 * Says "reading" before the first look.
 */
parentPort?.once("message", ({ share, done }: { share: OverlayShare; done: SharedArrayBuffer }) => {
  const overlay = new Overlay(share);
  const words = new Int32Array(done);
  const key = new RegisterKey();
  const wrong: string[] = [];
  let looks = 0;
  parentPort?.postMessage("reading");
  for (let i = 0; Atomics.load(words, 2) === 0 && wrong.length < 5; i = (i + 1) % 3000) {
    const told = Atomics.load(words, 0);
    key.set(`a/${i % 7}`, `u${i}`, overlay.seed);
    const stamp = overlay.find(1, key);
    const newest = Atomics.load(words, 0) + 1;
    const round = (stamp - 1) / 2;
    if (stamp === 0 ? told > newest : round < told || round > newest) wrong.push(`find u${i}: ${stamp} after ${told}`);
    if (i % 100 === 0) {
      const told = Atomics.load(words, 0);
      key.setSubject(`a/${i % 7}`, overlay.seed);
      for (const item of overlay.bySubject(1, key)) {
        if (!/^u\d+$/.test(item.id)) wrong.push(`list: ${item.id}`);
        const round = (item.stamp - 1) / 2;
        if (round < told || round > Atomics.load(words, 0) + 1) wrong.push(`list ${item.id}: ${round} after ${told}`);
      }
    }
    looks++;
  }
  parentPort?.postMessage({ looks, wrong });
});
