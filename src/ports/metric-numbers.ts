import { StartError } from "../errors.ts";
import type { Metric, MetricKind, MetricSetting } from "../model.ts";

const METRIC_ID_MAX = 255;

/** Metrics whose stored data is of the other kind, all of them. */
export class KindContradiction extends StartError {
  readonly metrics: { name: string; configured: MetricKind; stored: MetricKind }[];

  constructor(metrics: { name: string; configured: MetricKind; stored: MetricKind }[]) {
    const each = metrics.map((it) => `${it.name} is stored as a ${it.stored}, not as a ${it.configured}`);
    super(`the settings contradict stored data: ${each.join("; ")}`);
    this.name = "KindContradiction";
    this.metrics = metrics;
  }
}

/** A metric as a ledger has it. */
export interface StoredMetric {
  id: number;
  name: string;
  kind: MetricKind;
}

/**
 * The configured metrics with the ledger's numbers, in their order, and those (`added`) that the ledger must learn: they get
 * the next numbers. Throws KindContradiction, or StartError when there are no numbers left.
 */
export function numberMetrics(
  configured: readonly MetricSetting[],
  stored: readonly StoredMetric[],
): { metrics: Metric[]; added: StoredMetric[] } {
  const known = new Map(stored.map((metric) => [metric.name, metric]));
  const wrong = configured.flatMap(({ name, kind }) => {
    const there = known.get(name);
    return there && there.kind !== kind ? [{ name, configured: kind, stored: there.kind }] : [];
  });
  if (wrong.length > 0) throw new KindContradiction(wrong);
  let last = Math.max(0, ...stored.map((metric) => metric.id));
  const added: StoredMetric[] = [];
  const metrics = configured.map((setting) => {
    const { name, kind } = setting;
    const there = known.get(name);
    if (there) return { ...setting, id: there.id };
    if (++last > METRIC_ID_MAX) throw new StartError(`the ledger holds at most ${METRIC_ID_MAX} metrics`);
    added.push({ id: last, name, kind });
    return { ...setting, id: last };
  });
  return { metrics, added };
}
