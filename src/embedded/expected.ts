import { countDelta } from "../arithmetic/register.ts";
import type { Overlay, RegisterKey } from "./overlay.ts";
import type { SqliteLedgerReader } from "./reads.ts";

/** What log and ledger say a count is: the ledger's, and what is on its way to it (of a tally nothing is in the overlay). */
export function expectedCount(
  { overlay, ledger, key }: { overlay: Overlay; ledger: SqliteLedgerReader; key: RegisterKey },
  metric: number,
  subject: string,
): number {
  key.setSubject(subject, overlay.seed);
  const onTheWay = overlay.bySubject(metric, key);
  return ledger.snapshot(() => {
    let expected = ledger.count(metric, subject);
    for (const { id, stamp } of onTheWay) {
      const stored = ledger.register(metric, subject, id);
      expected += countDelta(stored, stamp);
    }
    return expected;
  });
}
