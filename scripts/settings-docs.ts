// Writes the pages about the settings from the table they are read by; a test tells when that was forgotten.
import { join } from "node:path";
import { settingsFile, settingsPage } from "../src/config/document.ts";

const root = join(import.meta.dir, "..");
await Bun.write(join(root, "docs/settings.md"), settingsPage());
await Bun.write(join(root, "deploy/tally.yaml"), settingsFile());
