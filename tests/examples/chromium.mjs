// Chromium for the programs beside this file, which use pages as a person would.
import { createRequire } from "node:module";

const require = createRequire(new URL("../../examples/package.json", import.meta.url));
const { chromium } = require("playwright-core");

/** Start it, without what talks to the network on its own. */
export function launch(executablePath) {
  return chromium.launch({
    executablePath,
    args: [
      "--no-sandbox", // tests may run as root
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}
