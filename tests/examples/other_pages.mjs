// Looks at the pages of other domains, for test_web.py:
// node other_pages.mjs CHROMIUM SITES(JSON: name to URL) SCREENSHOTS(folder)
import { createRequire } from "node:module";

const require = createRequire(new URL("../../examples/package.json", import.meta.url));
const { chromium } = require("playwright-core");
const [executablePath, sitesText, screenshots] = process.argv.slice(2);
const sites = JSON.parse(sitesText);

const browser = await chromium.launch({
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

/** Open a page, let it think to the end, and note what there is to see. */
async function look(name, url) {
  const page = await browser.newPage({ viewport: { width: 1200, height: 860 } });
  page.setDefaultTimeout(90_000); // a loaded machine may need long to start the first page
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  try {
    await page.goto(url);
    await page.waitForSelector("#play:not([disabled])");
    const ready = await page.locator("#status").innerText();
    if (screenshots) await page.screenshot({ path: `${screenshots}/${name}-ready.png` });
    await page.click("#finish");
    await page.waitForFunction(() =>
      /^(Solved|Not solved|Answered)/.test(document.querySelector("#status").innerText),
    );
    if (screenshots) await page.waitForTimeout(900);
    if (screenshots) await page.screenshot({ path: `${screenshots}/${name}.png` });
    const seen = await page.evaluate(() => {
      const board = document.querySelector("#board");
      const cells = [...document.querySelectorAll(".cell")];
      return {
        status: document.querySelector("#status").innerText,
        keys: [...document.querySelectorAll("#keypad button")].map((key) => key.ariaLabel),
        fills: cells.map((cell) => cell.style.getPropertyValue("--fill")),
        edges: document.querySelectorAll(".border-right, .border-bottom").length,
        cells: cells.length,
        size: [board.getAttribute("aria-rowcount"), board.getAttribute("aria-colcount")],
        width: innerWidth,
        scrolls: document.documentElement.scrollWidth,
      };
    });
    return { ready, ...seen, complaints };
  } finally {
    await page.close();
  }
}

try {
  const report = {};
  const visits = { ...sites, badHash: `${Object.values(sites)[0]}#%` };
  for (const [name, url] of Object.entries(visits)) {
    report[name] = await look(name, url).catch((error) => ({ failed: error.message }));
  }
  console.log(JSON.stringify(report));
} finally {
  await browser.close();
}
