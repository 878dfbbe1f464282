import type { SketchBoard } from "../distinct/board.ts";
import { SKETCHES_BYTES_MAX } from "../limits.ts";
import type { Reading } from "../telemetry/prometheus.ts";

export function sketchReadings(board: SketchBoard): Reading[] {
  return [
    { name: "tally_sketches_bytes", help: "Memory for sketches of distinct tallies", value: board.bytes },
    { name: "tally_sketches_bytes_max", help: "Memory that sketches may take", value: SKETCHES_BYTES_MAX },
  ];
}
