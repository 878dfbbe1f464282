import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Glob } from "bun";

const SRC = join(import.meta.dir, "../../src");

/** Every point of the source at which a test build can stop, by name. */
const ALL: readonly string[] = [...new Glob("**/*.ts").scanSync(SRC)]
  .filter((file) => !file.endsWith(".test.ts"))
  .flatMap((file) => [...readFileSync(join(SRC, file), "utf8").matchAll(/\bfault\("([^"]+)"/g)])
  .map((match) => match[1] as string)
  .sort();

/** Those that a server on one machine comes by, whatever its settings. */
export const FAULT_POINTS = ALL.filter(
  (point) => !/^(?:cluster|cluster-admin|visitors|admin|cluster-upload|numbered|webhook)\./.test(point),
);

/** Those that need a metric with `unique`. */
export const VISITOR_POINTS = ALL.filter((point) => point.startsWith("visitors."));

/** Those that it comes by for an administrator. */
export const ADMIN_POINTS = ALL.filter((point) => point.startsWith("admin."));
export const CLUSTER_ADMIN_POINTS = ALL.filter((point) => point.startsWith("cluster-admin."));

/** Those that it comes by while an upload with a key is under way, or `tally import` brings something in. */
export const NUMBERED_POINTS = ALL.filter((point) => point.startsWith("numbered."));
export const CLUSTER_UPLOAD_POINTS = ALL.filter((point) => point.startsWith("cluster-upload."));

/** Those that a cluster's node comes by while it is under load. */
export const CLUSTER_POINTS = ALL.filter((point) => /^(?:cluster|flusher)\./.test(point));
