import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TOP } from "../../src/arithmetic/place.ts";
import { checkLedger } from "../../src/embedded/check.ts";
import { prepareLedger, shareLedger } from "../../src/embedded/open-ledger.ts";
import { SqliteLedgerReader } from "../../src/embedded/reads.ts";
import { LogHead, LogWriter } from "../../src/local/log.ts";
import { FrameWriter } from "../../src/records.ts";
import { FrameSource, LedgerModel, RELATIONS, SHARES, VIEWS } from "../support/ledger-model.ts";

const FRAMES = 3000;
const KILLS = 25;
const SEED = Number(process.env.SEED ?? Date.now() % 100_000);

test(`a projector killed ${KILLS} times in the middle of its work loses nothing and does nothing twice (SEED=${SEED})`, async () => {
  const folder = mkdtempSync(join(tmpdir(), "tally-projector-"));
  const [log, ledger] = [join(folder, "log"), join(folder, "ledger.db")];
  const source = new FrameSource(SEED);
  const model = new LedgerModel();
  const head = new LogHead();
  const writer = new LogWriter(log, head);
  const bytes = new FrameWriter();
  for (let i = 0; i < FRAMES; i++) {
    const frame = source.next();
    bytes.begin(frame.source);
    for (const record of frame.records) bytes.add(record);
    model.apply(frame, writer.append(bytes.finish()));
  }
  writer.close();
  prepareLedger(ledger);

  let kills = 0;
  for (let isDone = false; !isDone; ) {
    const child = Bun.spawn(
      [process.execPath, join(import.meta.dir, "projector-child.ts"), log, ledger, `${head.position}`],
      {
        stdio: ["ignore", "inherit", "inherit"],
      },
    );
    if (kills < KILLS) {
      await Bun.sleep(60 + source.random.below(60));
      child.kill("SIGKILL");
    }
    await child.exited;
    if (child.signalCode === "SIGKILL") kills++;
    else {
      expect(child.exitCode).toBe(0);
      isDone = true;
    }
  }
  expect(kills).toBeGreaterThan(3);

  expect([...checkLedger(ledger)]).toEqual([]);
  const reader = new SqliteLedgerReader(ledger, shareLedger(ledger));
  expect(reader.position()).toBe(model.position);
  for (const subject of source.subjects) {
    for (const metric of [VIEWS, SHARES, ...RELATIONS]) {
      expect([subject, metric, reader.count(metric, subject)]).toEqual([subject, metric, model.count(metric, subject)]);
    }
    for (const metric of RELATIONS) {
      expect(reader.newestActors(metric, subject, TOP, 100)).toEqual(model.actors(metric, subject));
    }
  }
  reader.close();
  rmSync(folder, { recursive: true });
}, 120_000);
