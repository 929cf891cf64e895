// Looks at the pages of other domains, for test_web.py:
// node other_pages.mjs CHROMIUM SITES(JSON: name to URL) SCREENSHOTS(folder)
import { launch } from "./chromium.mjs";

const [executablePath, sitesText, screenshots] = process.argv.slice(2);
const sites = JSON.parse(sitesText);

const browser = await launch(executablePath);

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

/** Draw on a board of 5x5 with mouse, finger and keys, and let it think. */
async function draw(url) {
  const context = await browser.newContext({ viewport: { width: 420, height: 860 }, hasTouch: true });
  const page = await context.newPage();
  page.setDefaultTimeout(90_000);
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(error.message));
  const centre = async (cell) => {
    const box = await page.locator(".cell").nth(cell).boundingBox();
    return { x: box.x + box.width / 2, y: box.y + box.height / 2 };
  };
  const text = () => page.inputValue("#text");
  const withMouse = async (...cells) => {
    const places = [];
    for (const cell of cells) places.push(await centre(cell));
    await page.mouse.move(places[0].x, places[0].y);
    await page.mouse.down();
    for (const { x, y } of places.slice(1)) await page.mouse.move(x, y);
    await page.mouse.up();
    return text();
  };
  const withFinger = async (...cells) => {
    const client = await context.newCDPSession(page);
    const touch = async (type, cell) =>
      client.send("Input.dispatchTouchEvent", {
        type,
        touchPoints: cell === undefined ? [] : [await centre(cell)],
      });
    await touch("touchStart", cells[0]);
    for (const cell of cells.slice(1)) await touch("touchMove", cell);
    await touch("touchEnd");
    return text();
  };
  try {
    await page.goto(`${url}#${encodeURIComponent("S    \n     \n     \n     \n    G")}`);
    await page.waitForSelector("#play:not([disabled])");
    const report = {};
    report.wall = await withMouse(5, 8); // further than a cell at once
    report.again = await withMouse(7); // a wall becomes free
    report.finger = await withFinger(15, 16, 17);
    report.carried = await withFinger(0, 1, 6, 7); // over a wall, which stays
    report.blocked = await withMouse(10, 24); // as far as the goal, which stays
    await page.locator(".cell").nth(4).focus();
    await page.keyboard.press("G");
    report.keyed = await text();
    report.scrolled = await page.evaluate(() => scrollY);
    await page.click("#finish");
    await page.waitForFunction(() => /^(Solved|Not solved)/.test(document.querySelector("#status").innerText));
    if (screenshots) await page.screenshot({ path: `${screenshots}/drawn.png` });
    return { ...report, status: await page.locator("#status").innerText(), complaints };
  } finally {
    await context.close();
  }
}

try {
  const report = {};
  const visits = { ...sites, badHash: `${Object.values(sites)[0]}#%` };
  for (const [name, url] of Object.entries(visits)) {
    report[name] = await look(name, url).catch((error) => ({ failed: error.message }));
  }
  report.drawn = await draw(sites.maze).catch((error) => ({ failed: error.message }));
  console.log(JSON.stringify(report));
} finally {
  await browser.close();
}
