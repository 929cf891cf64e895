// Uses the page of a task as a person would, and reports what was seen as JSON, for
// test_task_page.py: node task_page.mjs CHROMIUM URL
import { launch } from "./chromium.mjs";

const [executablePath, url] = process.argv.slice(2);

const browser = await launch(executablePath);
const page = await browser.newPage({ viewport: { width: 1200, height: 860 } });
page.setDefaultTimeout(90_000); // a loaded machine may need long to start the first page
const complaints = [];
page.on("pageerror", (error) => complaints.push(error.message));
page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));

const text = (id) => page.locator(`#${id}`).innerText();
const label = (id) => page.locator(`#${id}`).getAttribute("aria-label");
/** What a cell of the input is called. */
const cell = (row, column) => page.locator(`#input > div:nth-child(${row}) > i:nth-child(${column})`);
const named = (row, column) => cell(row, column).getAttribute("aria-label");
const answered = () =>
  page.waitForFunction(() => /^Answered|demonstration's/.test(document.querySelector("#status").innerText));

const seen = {};
try {
  await page.goto(url);
  await page.waitForSelector("#play:not([disabled])");
  seen.pairs = await page.locator("#pairs [role=img]").evaluateAll((all) => all.map((one) => one.ariaLabel));
  seen.colours = await page.locator("#pairs i").evaluateAll((all) => [
    ...new Set(all.map((one) => one.style.backgroundColor)),
  ]);
  seen.before = await label("answer");
  await page.click("#play");
  await answered();
  seen.answer = await label("answer");
  seen.status = await text("status");
  await page.selectOption("#inputs", "d1");
  await page.click("#play");
  await answered();
  seen.demonstration = { status: await text("status"), answer: await label("answer") };

  // Draw: what was thought of the input before is gone.
  await page.locator("#palette button").first().click();
  await cell(2, 1).click();
  seen.drawn = { cell: await named(2, 1), answer: await label("answer"), chosen: await page.inputValue("#inputs") };
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("1");
  seen.typed = await named(2, 2);
  await page.keyboard.press("Enter");
  await answered();
  seen.own = await text("status");

  await page.fill("#columns", "9");
  await page.locator("#columns").blur();
  seen.resized = { cells: await page.locator("#input i").count(), problem: await text("problem"), playable: await page.isEnabled("#play") };
} catch (error) {
  seen.failed = error.message;
} finally {
  await browser.close();
}
console.log(JSON.stringify({ ...seen, complaints }));
