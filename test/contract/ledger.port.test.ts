import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SqliteLedgerWriter } from "../../src/embedded/ledger.ts";
import { prepareLedger, shareLedger } from "../../src/embedded/open-ledger.ts";
import { SqliteLedgerReader } from "../../src/embedded/reads.ts";
import { ledgerPort } from "./ledger.port.ts";

ledgerPort("SQLite", async ({ segmentRows, totalsFrom, foldFrom }) => {
  const bounds = { segmentRows, totalsFrom, deltas: { segmentRows, foldFrom } };
  const folder = mkdtempSync(join(tmpdir(), "tally-ledger-"));
  const path = join(folder, "ledger.db");
  const open = () => {
    prepareLedger(path);
    const share = shareLedger(path, 7);
    return { writer: new SqliteLedgerWriter(path, share, bounds), reader: new SqliteLedgerReader(path, share) };
  };
  const close = async () => {
    world.reader.close();
    world.writer.close();
  };
  const world = {
    ...open(),
    async reopen() {
      await close();
      Object.assign(world, open());
    },
    async close() {
      await close();
      rmSync(folder, { recursive: true });
    },
  };
  return world;
});
