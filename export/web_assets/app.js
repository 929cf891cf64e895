/** The page: a puzzle, the steps that the model has taken on it, and which of them is shown. */

import { Board } from "./board.js";
import { descriptionIn, importRules } from "./loading.js";
import { Domain, Solver } from "./trm.js";

const DESCRIPTION = "model.json";
/** Steps a second, by position of the speed slider. */
const SPEEDS = [1, 2, 3, 5, 8, 12, 20, 60];
/** Attempts worth a person's wait, where the rules say which is right and the default is fewer. */
const ATTEMPTS = 8;

const at = (id) => document.getElementById(id);
const state = {
  description: null,
  domain: null,
  board: null,
  solver: null,
  puzzle: null,
  run: null, // the generator of steps, once begun
  controller: null, // of that run
  history: [],
  shown: 0, // of the history; 0 is the bare puzzle
  ended: false,
  playing: false,
};

// --- beginning --------------------------------------------------------------------------------

async function begin() {
  const response = await fetch(DESCRIPTION).catch((error) => ({ ok: false, status: error.message }));
  if (!response.ok) return complain(`${DESCRIPTION} can't be fetched: ${response.status}`);
  state.description = await response.json();
  const { examples = [], rules } = state.description;
  const own = rules ? await importRules(DESCRIPTION, rules) : null;
  setBoard(new Domain(descriptionIn(state.description), { rules: own }));
  makeKeypad();
  for (const [name, text] of examples) at("examples").append(new Option(name, text));
  at("examples").append(new Option("Your own", ""));
  at("text").placeholder = "Paste a puzzle here, or anywhere";
  at("who-decides").textContent = state.domain.hasRules || state.domain.brings
    ? "Nothing but the rules says when it is done."
    : "This page knows no rules to check an answer by; how sure the network is of the whole, it says itself.";
  sayHowToDraw();
  const asked = askedFor();
  if (!asked || !take(asked)) takeExample();
  showFacts();
  connect();
  await load(new URLSearchParams(location.search).get("backend") ?? "auto");
}

function sayHowToDraw() {
  const { drawing } = state.domain;
  if (!drawing) return;
  const [over, under] = drawing.brush.map((value) => state.domain.nameOf(value));
  const moved = drawing.moved.map((value) => state.domain.nameOf(value)).join(" and ");
  at("drawing").hidden = false;
  at("drawing").textContent =
    `A finger or the mouse draws: ${over} over ${under}, ${under} from where it begins on ${over}. ` +
    `It carries ${moved} to another cell.`;
}

/** The puzzle in the address; an address that is not valid text counts as none. */
function askedFor() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return "";
  }
}

function takeExample() {
  if (at("examples").value) take(at("examples").value);
  else setPuzzle(emptyBoard());
}

/** A board without givens, of the same shape and groups as now. */
function emptyBoard() {
  const { rows, columns, cells, blank, own: groups } = state.domain;
  return Object.assign(new Int32Array(cells).fill(blank), { rows, columns, groups });
}

function setBoard(domain) {
  state.domain = domain;
  state.board?.close();
  state.board = new Board(at("board"), domain, fill);
}

async function load(backend) {
  say("Loading the model …");
  try {
    state.solver = await Solver.load(DESCRIPTION, { backend });
  } catch (error) {
    complain(`The model can't be loaded. ${error.message}`);
    return;
  }
  if (state.solver.backend === "webgpu") await offerWebGpu();
  at("backend").value = state.solver.backend;
  showFacts();
  show();
}

/** Asked only when someone looks: a browser without a graphics card grumbles at the question. */
async function offerWebGpu() {
  if (at("backend").options.length > 1) return;
  if (await navigator.gpu?.requestAdapter().catch(() => null)) {
    at("backend").append(new Option("the graphics card (WebGPU)", "webgpu"));
  }
}

function showFacts() {
  const { parameters, bytes, spec, weights_sha256: checksum } = state.description;
  const facts = [
    `${spec.domain}: ${parameters.toLocaleString("en")} parameters in ${Math.round(bytes / 1000).toLocaleString("en")} KB`,
    `weights ${checksum.slice(0, 12)}`,
  ];
  at("facts").textContent = `${facts.join(", ")}.`;
  at("lede").textContent =
    `A recursive network of ${parameters.toLocaleString("en")} parameters fills in the board, looks at ` +
    "what it wrote, and thinks again. It runs in this page; nothing you type leaves it.";
}

function makeKeypad() {
  const { domain } = state;
  const blanks = domain.blanks.filter((value) => value !== domain.blank && !domain.isGiven(value));
  for (const value of [...domain.givens, ...blanks, domain.blank]) {
    const erases = value === domain.blank;
    const key = document.createElement("button");
    key.type = "button";
    const colour = domain.colour(value);
    if (erases) key.textContent = "⌫";
    else if (colour) {
      const swatch = document.createElement("span");
      swatch.className = "swatch";
      swatch.style.backgroundColor = colour;
      key.append(swatch);
    } else key.textContent = domain.symbol(value);
    key.setAttribute("aria-label", erases ? "Empty the cell" : domain.nameOf(value));
    key.addEventListener("click", () => state.board.fill(value));
    at("keypad").append(key);
  }
}

// --- the puzzle -------------------------------------------------------------------------------

/** Take a puzzle from text; says what is wrong with it where it is none. */
function take(text) {
  let puzzle;
  try {
    puzzle = state.domain.parse(text);
  } catch (error) {
    complain(error.message);
    return false;
  }
  setPuzzle(puzzle);
  return true;
}

function setPuzzle(puzzle) {
  forget();
  const domain = state.domain.on(puzzle);
  if (domain !== state.domain) setBoard(domain);
  state.puzzle = puzzle;
  const text = domain.write(puzzle);
  at("text").value = text;
  at("text").rows = Math.min(text.split("\n").length, 8);
  at("examples").value = [...at("examples").options].some(({ value }) => value === text) ? text : "";
  show();
}

function fill(changes) {
  const same = changes.every(([cell, value]) => state.puzzle[cell] === value);
  if (same && !state.history.length) return;
  const { rows, columns, groups } = state.puzzle;
  const puzzle = state.puzzle.slice();
  for (const [cell, value] of changes) puzzle[cell] = value;
  setPuzzle(Object.assign(puzzle, { rows, columns, groups }));
}

/** Drop the steps taken so far. */
function forget() {
  pause();
  state.controller?.abort();
  Object.assign(state, { run: null, controller: null, history: [], shown: 0, ended: false });
}

// --- thinking ---------------------------------------------------------------------------------

/** Show the next step, taking it first if need be; false where there is none. */
async function advance() {
  if (state.shown < state.history.length) {
    state.shown += 1;
    return true;
  }
  if (state.ended) return false;
  if (!state.run) {
    state.controller = new AbortController();
    const own = state.solver.options.attempts;
    const attempts = state.domain.hasRules ? Math.max(ATTEMPTS, own) : own;
    state.run = state.solver.refine(state.puzzle, { attempts, signal: state.controller.signal });
  }
  const { run } = state;
  const { value, done } = await run.next();
  if (state.run !== run) return false; // forgotten meanwhile
  if (done) state.ended = true;
  else {
    state.history.push(value);
    state.shown = state.history.length;
    if (value.verified || value.refuted) state.ended = true;
  }
  return !done;
}

/** Go on until paused or done, at the speed chosen or at once. */
async function play({ atOnce = false } = {}) {
  if (state.playing || !ready()) return;
  if (state.ended && state.shown === state.history.length) state.shown = 0; // watch it again
  const me = {}; // who plays: a pause and a new start make this one stop
  state.playing = me;
  show();
  let painted = performance.now();
  while (state.playing === me) {
    const begun = performance.now();
    if (!(await guarded(advance))) break;
    if (state.playing !== me) return;
    const last = state.ended && state.shown === state.history.length;
    if (!atOnce || last) show();
    else if (performance.now() - painted > 100) {
      show();
      await new Promise(requestAnimationFrame); // stay able to be paused
      painted = performance.now();
    }
    if (last) break;
    if (!atOnce) await wait(1000 / SPEEDS[at("speed").value] - (performance.now() - begun));
  }
  if (state.playing === me) pause();
}

function pause() {
  state.playing = false;
  if (state.puzzle) show();
}

async function stepOnce() {
  if (!ready()) return;
  pause();
  await guarded(advance);
  show();
}

/** Run something of the model's; what goes wrong is shown, not lost. */
async function guarded(action) {
  try {
    return await action();
  } catch (error) {
    if (error.name !== "AbortError") complain(error.message);
    return false;
  }
}

function ready() {
  const { solver, puzzle, domain } = state;
  return solver && puzzle && (domain.own || !domain.brings) && !domain.conflicts(puzzle).length;
}

function wait(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, Math.max(milliseconds, 0)));
}

// --- showing ----------------------------------------------------------------------------------

function show() {
  const { history, shown, playing, puzzle, domain } = state;
  const step = shown ? history[shown - 1] : null;
  state.board.show(puzzle, step);

  const able = Boolean(ready());
  const over = state.ended && shown === history.length;
  at("play").disabled = !able;
  at("play").classList.toggle("playing", Boolean(playing));
  at("play-label").textContent = playing ? "Pause" : over ? "Again" : "Think";
  at("step").disabled = !able || over;
  at("finish").disabled = !able || over;
  at("reset").disabled = !history.length;
  at("timeline").disabled = !history.length;
  at("timeline").max = history.length;
  at("timeline").value = shown;
  at("timeline-value").textContent = history.length ? `${shown} / ${history.length}` : "–";
  at("speed-value").textContent = `${SPEEDS[at("speed").value]} / s`;
  at("speed").setAttribute("aria-valuetext", `${SPEEDS[at("speed").value]} steps a second`);

  const open = puzzle.reduce((count, value) => count + !domain.isGiven(value), 0);
  const certainty = step ? certaintyOf(step, puzzle) : null;
  at("steps").textContent = step ? step.total : "–";
  at("time").textContent = step ? milliseconds(history.slice(0, shown)) : "–";
  at("attempt").textContent = step ? step.attempt : "–";
  at("certainty").textContent = percent(certainty);
  at("confidence").textContent = percent(step?.confidence ?? null);
  at("rules").textContent = step ? verdict(step) : "–";
  at("rules").classList.toggle("good", Boolean(step?.verified));
  drawChart();

  const [first] = domain.conflicts(puzzle);
  if (first) {
    say("");
    complain(sentence(domain.describeConflict(first)));
  } else if (state.solver) say(statusOf(step, over, open), step?.verified);
}

function statusOf(step, over, open) {
  if (state.domain.brings && !state.domain.own) return `Paste a puzzle with its ${state.domain.brings.kind}s.`;
  if (!step) return open ? `Ready: ${open} cells to fill.` : "Ready: the board is full.";
  const steps = step.total === 1 ? "1 step" : `${step.total} steps`;
  if (step.verified) {
    return `Solved in ${steps} and ${milliseconds(state.history)}, verified by the rules.`;
  }
  if (step.refuted) return `No solution: proven by the rules, after ${steps}.`;
  if (over && step.verified === null) {
    return `Answered in ${steps} and ${milliseconds(state.history)}; there are no rules here to check it by.`;
  }
  if (over) return `Not solved in ${step.attempt} attempts, ${steps} in all.`;
  if (!state.playing) return `Paused after ${steps}.`;
  if (step.attempt === 1) return "Thinking …";
  if (!step.guess) return `Thinking again, with some noise: attempt ${step.attempt}.`;
  const { cell, value } = step.guess;
  const [row, column] = [Math.floor(cell / state.domain.columns), cell % state.domain.columns];
  const before = step.guesses.length - 1;
  const after = before ? `after ${before} ${before === 1 ? "guess" : "guesses"}, ` : "";
  return (
    `Attempt ${step.attempt}: ${after}what if row ${row + 1}, column ${column + 1} ` +
    `is ${state.domain.nameOf(value)}?`
  );
}

function sentence(text) {
  return `${text[0].toUpperCase()}${text.slice(1)}.`;
}

function verdict({ values, verified, refuted }) {
  if (verified) return "verified ✓";
  if (refuted) return "no solution";
  if (verified === null) return "none here";
  const cells = new Set(state.domain.conflicts(values).flatMap((found) => found.cells));
  return cells.size ? `${cells.size} cells clash` : "not yet kept";
}

/** How sure the model is of the cells that it fills, on average. */
function certaintyOf({ values, probabilities }, puzzle) {
  let sum = 0;
  let open = 0;
  values.forEach((value, cell) => {
    const { answers } = state.domain;
    if (state.domain.isGiven(puzzle[cell])) return;
    open += 1;
    sum += probabilities[cell * answers.length + answers.indexOf(value)] ?? 0;
  });
  return open ? sum / open : 1;
}

function drawChart() {
  const { history, shown, puzzle } = state;
  const [width, height] = [320, 84];
  const x = (index) => (history.length > 1 ? (index / (history.length - 1)) * width : width / 2);
  const y = (share) => height - 2 - share * (height - 4);
  const line = (name, shareOf) =>
    history.length
      ? `<polyline class="${name}" points="${history
          .map((step, index) => `${x(index).toFixed(1)},${y(shareOf(step)).toFixed(1)}`)
          .join(" ")}${history.length > 1 ? "" : ` ${x(0) + 0.1},${y(shareOf(history[0]))}`}"/>`
      : "";
  const upright = (name, index) => `<path class="${name}" d="M${x(index).toFixed(1)} 0V${height}"/>`;
  at("chart").innerHTML =
    `<path class="frame" d="M0 ${height}H${width}M0 0H${width}"/>` +
    history.map((step, index) => (index && step.index === 1 ? upright("attempt", index - 0.5) : "")).join("") +
    (shown ? upright("now", shown - 1) : "") +
    line("halt", (step) => step.confidence) +
    line("cells", (step) => certaintyOf(step, puzzle));
  at("chart").setAttribute(
    "aria-label",
    history.length
      ? `Certainty over ${history.length} steps; at the last one ${percent(certaintyOf(history.at(-1), puzzle))} of its cells`
      : "No steps yet",
  );
}

function milliseconds(steps) {
  const spent = 1000 * steps.reduce((sum, step) => sum + step.seconds, 0);
  if (spent >= 1000) return `${(spent / 1000).toFixed(1)} s`;
  return `${spent < 10 ? spent.toFixed(1) : Math.round(spent)} ms`;
}

function percent(share) {
  if (share === null) return "–";
  return `${share > 0.995 && share < 1 ? ">99" : Math.round(100 * share)}%`;
}

function say(text, verified = false) {
  at("problem").hidden = true;
  // Set only where it changes: a screen reader reads it out every time.
  if (at("status").textContent !== text) at("status").textContent = text;
  at("status").classList.toggle("verified", Boolean(verified));
}

function complain(text) {
  at("status").textContent = "";
  at("problem").textContent = text;
  at("problem").hidden = false;
}

// --- controls ---------------------------------------------------------------------------------

function connect() {
  at("play").addEventListener("click", () => (state.playing ? pause() : play()));
  at("step").addEventListener("click", stepOnce);
  at("finish").addEventListener("click", async () => {
    pause();
    await play({ atOnce: true });
  });
  at("reset").addEventListener("click", () => {
    forget();
    show();
  });
  at("timeline").addEventListener("input", () => {
    state.playing = false;
    state.shown = Number(at("timeline").value);
    show();
  });
  at("speed").addEventListener("input", show);
  at("examples").addEventListener("change", () => {
    takeExample();
  });
  at("puzzle-form").addEventListener("submit", (event) => {
    event.preventDefault();
    take(at("text").value);
  });
  at("text").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey) return;
    event.preventDefault();
    at("puzzle-form").requestSubmit();
  });
  at("clear").addEventListener("click", () => {
    setPuzzle(emptyBoard());
    state.board.select(0);
  });
  at("copy").addEventListener("click", async () => {
    const step = state.shown ? state.history[state.shown - 1] : null;
    const text = step ? state.domain.format(step.values) : state.domain.write(state.puzzle);
    try {
      await navigator.clipboard.writeText(text);
      say(step ? "Copied the answer." : "Copied the puzzle.");
    } catch {
      complain(`The clipboard is closed to this page; here it is: ${text}`);
    }
  });
  at("backend").addEventListener("change", async () => {
    forget();
    await state.solver?.close();
    state.solver = null;
    show();
    await load(at("backend").value);
  });
  at("about").addEventListener("toggle", offerWebGpu, { once: true });
  at("board").addEventListener("keydown", (event) => {
    if (event.key === "Enter") at("play").click();
    else if (event.key === " ") at("step").click();
    else return;
    event.preventDefault();
  });
  addEventListener("paste", (event) => {
    if (event.target === at("text")) return;
    const text = event.clipboardData.getData("text");
    if (text) take(text);
  });
  addEventListener("hashchange", () => askedFor() && take(askedFor()));
}

begin().catch((error) => complain(error.message));
