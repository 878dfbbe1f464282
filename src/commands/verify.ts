import { deployment, type Settings } from "../config.ts";
import { EXIT } from "../errors.ts";
import { verifyNode } from "../open.ts";
import { needDataFolder } from "./data-folder.ts";
import type { CommandArgs } from "./table.ts";

/** Says each difference on a line of its own, and at the end what was compared. Status 1: there are some left. */
export async function run(settings: Settings, { options }: CommandArgs): Promise<number> {
  needDataFolder(settings);
  const isEmbedded = deployment(settings) === "embedded";
  const repair = options.repair === true;
  const result = await verifyNode(settings, repair, (text, isMended) => {
    process.stdout.write(`${text}${isMended ? " (mended)" : ""}\n`);
  });
  const { differences, mended, counters, registers, frames } = result;
  const left = differences - mended;
  const compared = isEmbedded
    ? `the ledger, ${registers} of its rows in the filters, ${counters} counters in memory and ${frames} frames of the log were compared`
    : `MySQL and Redis were compared, ${counters} counts and ${registers} registers in filters`;
  process.stdout.write(`${differences} differences${repair ? `, ${mended} mended` : ""}; ${compared}\n`);
  return left === 0 ? EXIT.ok : EXIT.difference;
}
