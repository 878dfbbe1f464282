// Brings a log into a ledger until it is done or killed: the child of projector-sigkill.test.ts.
import { SqliteLedgerWriter } from "../../src/embedded/ledger.ts";
import { shareLedger } from "../../src/embedded/open-ledger.ts";
import { FileLogReader, LogHead } from "../../src/local/log.ts";
import { ProjectorControl } from "../../src/projector/control.ts";
import { Projector } from "../../src/projector/projector.ts";

const [log, ledger, head] = process.argv.slice(2) as [string, string, string];
const BOUNDS = { segmentRows: 60, totalsFrom: 3, deltas: { segmentRows: 50, foldFrom: 1 } };
const logHead = new LogHead();
logHead.position = Number(head);
const writer = new SqliteLedgerWriter(ledger, shareLedger(ledger), BOUNDS);
const control = new ProjectorControl(ProjectorControl.allocate(logHead.share));
const nothing = () => {};
const projector = new Projector(
  { log: new FileLogReader(log, logHead), ledger: writer, control },
  { applied: nothing, idle: nothing, lost: nothing, failing: nothing, recovered: nothing, hurry: nothing },
  { recordsMax: 20 },
);
while (projector.step() > 0) {
  writer.tidy(Date.now());
  if (Math.random() < 0.1) writer.makeDurable();
}
writer.close();
