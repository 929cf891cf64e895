// Opens pages whose runtime is pinned, for test_web.py:
// node pinned_pages.mjs CHROMIUM SITES(JSON: name to URL)
import { createRequire } from "node:module";

const require = createRequire(new URL("../../examples/package.json", import.meta.url));
const { chromium } = require("playwright-core");
const [executablePath, sites] = process.argv.slice(2);

const browser = await chromium.launch({
  executablePath,
  args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"],
});
const seen = {};
for (const [name, url] of Object.entries(JSON.parse(sites))) {
  const page = await browser.newPage();
  page.setDefaultTimeout(180_000); // a loaded machine compiles the WebAssembly slowly
  await page.goto(url);
  await page.waitForFunction(
    () => !document.querySelector("#play").disabled || !document.querySelector("#problem").hidden,
  );
  seen[name] = {
    ready: await page.locator("#play").isEnabled(),
    problem: (await page.locator("#problem").textContent()) ?? "",
  };
  await page.close();
}
await browser.close();
console.log(JSON.stringify(seen));
