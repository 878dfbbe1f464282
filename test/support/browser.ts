import { type BrowserContext, chromium } from "playwright-core";
import { chromiumPrograms } from "../../scripts/services/install.ts";

/** Nothing that a machine without a screen, a sandbox or the Internet cannot do. */
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** A real browser, with a fresh profile in `folder`. */
export async function openBrowser(folder: string): Promise<BrowserContext> {
  const { chromium: executablePath = "" } = await chromiumPrograms();
  return chromium.launchPersistentContext(folder, { executablePath, headless: true, args: FLAGS });
}
