import type { Settings } from "../config.ts";
import { EXIT } from "../errors.ts";
import { openArchive } from "../open.ts";
import { exportLines } from "../transfer/lines.ts";
import { needDataFolder } from "./data-folder.ts";

/** Everything as text on stdout, as fast as whoever reads it takes it. */
export async function run(settings: Settings): Promise<number> {
  needDataFolder(settings);
  const source = await openArchive(settings).source();
  let isRead = true;
  // Who reads may have enough before the end (`| head`).
  process.stdout.on("error", () => {
    isRead = false;
  });
  try {
    for await (const chunk of exportLines(source)) {
      if (!isRead) return EXIT.unavailable;
      if (!process.stdout.write(chunk)) await drained();
    }
  } finally {
    await source.close();
  }
  return isRead ? EXIT.ok : EXIT.unavailable;
}

function drained(): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      process.stdout.off("drain", done);
      process.stdout.off("error", done);
      resolve();
    };
    process.stdout.on("drain", done);
    process.stdout.on("error", done);
  });
}
