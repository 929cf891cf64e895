// Uses the page as a person would, in Chromium, and reports what was seen as JSON, for test_web.py:
// node page.mjs CHROMIUM URL PUZZLES(JSON) SCREENSHOTS(folder)
import { launch } from "./chromium.mjs";

const [executablePath, url, puzzlesText, screenshots] = process.argv.slice(2);
const puzzles = JSON.parse(puzzlesText);
const empty = ".".repeat(81);
const hard = "1....7.9..3..2...8..96..5....53..9...1..8...26....4...3......1..4......7..7...3..";
/** No solution, which only trying values shows. */
const unsolvable = ".8.5.....1..3.2.943.....7..25..4......8....6....91.5.7...4..3....3..9..86.......1";

const browser = await launch(executablePath);

/** Open the page, do something on it, and note all that it complained about. */
async function visit(action, { options = {}, hash = "", ready = true, prepare } = {}) {
  const context = await browser.newContext({ viewport: { width: 1200, height: 860 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(90_000); // a loaded machine may need long to start the first page
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  try {
    await prepare?.(page);
    await page.goto(`${url}${hash && `#${hash}`}`);
    if (ready) await page.waitForSelector("#play:not([disabled])");
    return { ...(await action(page)), complaints };
  } finally {
    await context.close();
  }
}

const text = (page, id) => page.locator(`#${id}`).innerText();
const ended = (page) =>
  page.waitForFunction(() => /^(Solved|Not solved|No solution)/.test(document.querySelector("#status").innerText));

/** The board as a screen reader has it: one character a cell, "." for empty. */
const board = (page) =>
  page
    .locator("[role=gridcell]")
    .evaluateAll((cells) => cells.map((cell) => /: (\d)/.exec(cell.ariaLabel)?.[1] ?? ".").join(""));

const focus = (page) =>
  page.evaluate(() => {
    const { id, ariaLabel, role } = document.activeElement;
    return id || ariaLabel || role;
  });

const scenarios = {
  async solve() {
    const seen = [];
    for (const puzzle of puzzles) {
      seen.push(
        await visit(
          async (page) => {
            await page.click("#finish");
            await ended(page);
            const [status, steps, time, rules] = await Promise.all(
              ["status", "steps", "time", "rules"].map((id) => text(page, id)),
            );
            return { answer: await board(page), status, steps, time, rules };
          },
          { hash: puzzle },
        ),
      );
    }
    return seen;
  },

  refuted: () =>
    visit(
      async (page) => {
        await page.click("#finish");
        await ended(page);
        const [status, steps, attempt, rules] = await Promise.all(
          ["status", "steps", "attempt", "rules"].map((id) => text(page, id)),
        );
        return { status, steps, attempt, rules, over: await page.locator("#step").isDisabled() };
      },
      { hash: unsolvable },
    ),

  // The module alone, in a page: one solver, several solves at the same time.
  together: () =>
    visit(async (page) => ({
      answers: await page.evaluate(async (given) => {
        const { Solver } = await import("./trm.js");
        const solver = await Solver.load("model.json");
        return Promise.all(given.map(async (puzzle) => (await solver.solve(puzzle)).text));
      }, puzzles),
    })),

  think: () =>
    visit(
      async (page) => {
        const before = await board(page);
        await page.click("#step");
        await page.waitForFunction(() => document.querySelector("#timeline").value === "1");
        const first = await board(page);
        const confidences = await page
          .locator(".cell:not(.given)")
          .evaluateAll((cells) => cells.map((cell) => Number(cell.style.getPropertyValue("--sure"))));
        const labels = await page
          .locator("[role=gridcell]")
          .evaluateAll((cells) => cells.map((cell) => cell.ariaLabel));
        if (await page.locator("#finish").isEnabled()) await page.click("#finish"); // or solved in one
        await ended(page);
        const last = await board(page);
        // The timeline shows any earlier step again.
        await page.locator("#timeline").focus();
        await page.keyboard.press("Home");
        await page.keyboard.press("ArrowRight");
        const replayed = await board(page);
        await page.click("#reset");
        return { before, first, confidences, labels, last, replayed, after: await board(page) };
      },
      { hash: puzzles[0] },
    ),

  // At its slowest, on a puzzle that takes more than a few steps.
  pause: () =>
    visit(
      async (page) => {
        const shown = () => page.locator("#timeline").inputValue();
        const reaches = (count) =>
          page.waitForFunction((n) => Number(document.querySelector("#timeline").value) >= n, count);
        await page.locator("#speed").focus();
        await page.keyboard.press("Home");
        await page.click("#play");
        await reaches(1);
        const thinking = [await text(page, "status"), await text(page, "play-label")];
        await page.click("#play");
        const paused = [await text(page, "status"), await text(page, "play-label")];
        const before = await shown();
        await page.waitForTimeout(1500);
        const after = await shown();
        await page.click("#play");
        await reaches(Number(after) + 1);
        return { thinking, paused, before, after, speed: await text(page, "speed-value") };
      },
      { hash: hard },
    ),

  keyboard: () =>
    visit(
      async (page) => {
        const visited = [];
        await page.keyboard.press("Tab");
        visited.push(await focus(page));
        const ring = await page.evaluate(() => getComputedStyle(document.activeElement, "::after").borderTopWidth);
        // Type the whole puzzle over the board that was there, cell by cell.
        for (let cell = 0; cell < 81; cell += 1) {
          const key = puzzles[1][cell];
          await page.keyboard.press(key === "." ? "Backspace" : key);
          await page.keyboard.press("ArrowRight");
          if (cell % 9 === 8) await page.keyboard.press("ArrowDown");
        }
        const typed = await board(page);
        await page.keyboard.press("End");
        const atEnd = await focus(page);
        await page.keyboard.press("ArrowUp");
        const wrapped = await focus(page);
        await page.keyboard.press(" "); // one step
        await page.waitForFunction(() => document.querySelector("#timeline").value === "1");
        const step = await text(page, "status");
        await page.keyboard.press("Enter"); // think
        await ended(page);
        const answer = await board(page);
        for (let tabs = 0; tabs < 22; tabs += 1) {
          await page.keyboard.press("Tab");
          visited.push(await focus(page));
        }
        return { visited, ring, typed, atEnd, wrapped, step, answer, status: await text(page, "status") };
      },
      { hash: empty },
    ),

  entering: () =>
    visit(
      async (page) => {
        const result = {};
        await page.locator("[role=gridcell]").nth(40).click();
        await page.getByRole("button", { name: "5", exact: true }).click();
        result.keypad = await board(page);
        await page.locator("[role=gridcell]").nth(44).click();
        await page.keyboard.press("5");
        result.clash = await text(page, "problem");
        result.clashing = await page.locator(".clash").count();
        result.playable = await page.locator("#play").isEnabled();
        await page.keyboard.press("Delete");
        result.mended = await page.locator("#problem").isHidden();
        await page.evaluate((puzzle) => {
          const clipboardData = new DataTransfer();
          clipboardData.setData("text", puzzle.replaceAll(".", "0").replace(/(.{9})/g, "$1\n"));
          document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true }));
        }, puzzles[2]);
        result.pasted = await board(page);
        await page.fill("#text", "12x");
        await page.keyboard.press("Enter");
        result.noPuzzle = await text(page, "problem");
        result.kept = await board(page);
        await page.selectOption("#examples", { index: 1 });
        result.example = await board(page);
        await page.click("#clear");
        result.cleared = await board(page);
        return result;
      },
      { hash: empty },
    ),

  async layout() {
    const seen = {};
    for (const [name, options] of Object.entries({
      phone: { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true },
      small: { viewport: { width: 320, height: 640 }, isMobile: true, hasTouch: true },
      dark: { viewport: { width: 390, height: 844 }, colorScheme: "dark" },
      desktop: {},
      still: { reducedMotion: "reduce" },
    })) {
      seen[name] = await visit(
        async (page) => {
          await page.click("#finish");
          await ended(page);
          await page.waitForTimeout(name === "still" ? 0 : 900);
          if (screenshots) await page.screenshot({ path: `${screenshots}/${name}.png` });
          return page.evaluate(() => {
            const style = (element, pseudo) => getComputedStyle(element, pseudo);
            const box = (id) => document.querySelector(id).getBoundingClientRect();
            const cell = document.querySelector(".cell:not(.given)");
            const heights = [...document.querySelectorAll("button")].map((b) => b.getBoundingClientRect().height);
            const unnamed = [...document.querySelectorAll("input, select, button")].filter(
              (control) => !control.labels?.length && !control.ariaLabel && !control.innerText.trim(),
            );
            const colours = (id) => [style(document.querySelector(id)).color, style(document.body).backgroundColor];
            return {
              width: innerWidth,
              scrolls: document.documentElement.scrollWidth,
              board: [box("#board").width, box("#board").height],
              play: box("#play").bottom,
              lowestButton: Math.min(...heights),
              unnamed: unnamed.map((control) => control.outerHTML),
              animated: style(cell).animationName,
              colours: [colours("h1"), colours("#lede"), colours("#status")],
            };
          });
        },
        { hash: puzzles[0], options },
      );
    }
    return seen;
  },

  async failing() {
    const seen = {};
    for (const [name, pattern, response] of [
      ["noModel", "**/model.onnx", { status: 404, body: "" }],
      ["brokenModel", "**/model.onnx", { status: 200, body: "not a graph" }],
      ["noRuntime", "**/ort.wasm.bundle.min.mjs", { status: 404, body: "" }],
      ["noDescription", "**/model.json", { status: 404, body: "" }],
    ]) {
      seen[name] = await visit(
        async (page) => {
          await page.waitForSelector("#problem:not([hidden])");
          return { problem: await text(page, "problem"), playable: await page.locator("#play").isEnabled() };
        },
        { ready: false, prepare: (page) => page.route(pattern, (route) => route.fulfill(response)) },
      );
    }
    return seen;
  },
};

try {
  const report = {};
  for (const [name, scenario] of Object.entries(scenarios)) {
    // A scenario that fails must not hide what the others saw.
    report[name] = await scenario().catch((error) => ({ failed: error.message }));
  }
  console.log(JSON.stringify(report));
} finally {
  await browser.close();
}
