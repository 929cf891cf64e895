/** The page of one task: its demonstrations, an input to draw on, and what the network answers. */

import { AdaptedTask } from "./task.js";

/** Milliseconds that a step stays, so that it can be seen. */
const PACE = 350;
/** Rows or columns that the page lets an input have. */
const LARGEST = 30;

const at = (id) => document.getElementById(id);
const state = {
  task: null,
  grid: null, // the input
  brush: 0, // the value that is drawn
  current: [0, 0], // the cell that keys act on
  run: null, // the generator of steps, once begun
  history: [], // steps taken on this input
  shown: 0, // how many of them; 0 is none
  playing: null,
};

// --- beginning --------------------------------------------------------------------------------

async function begin() {
  try {
    state.task = await AdaptedTask.load(new URL("model.onnx", document.baseURI));
  } catch (error) {
    complain(error.message);
    return;
  }
  const { task } = state;
  const name = task.name ? `Task ${task.name}` : "One task";
  document.title = name;
  at("title").textContent = name;
  for (const [number, [before, after]] of task.demonstrations.entries()) {
    const item = document.createElement("li");
    item.className = "pair";
    item.append(
      picture(before, `Input of demonstration ${number + 1}`),
      document.querySelector(".arrow").cloneNode(true),
      picture(after, `Output of demonstration ${number + 1}`),
    );
    at("pairs").append(item);
  }
  task.inputs.forEach((_, index) => at("inputs").append(new Option(`Test input ${index + 1}`, `t${index}`)));
  task.demonstrations.forEach((_, index) =>
    at("inputs").append(new Option(`Demonstration ${index + 1}`, `d${index}`)),
  );
  at("inputs").append(new Option("Your own", ""));
  makePalette();
  sayFacts();
  connect();
  choose(task.inputs.length ? "t0" : "d0");
}

function makePalette() {
  const { task } = state;
  for (const value of task.palette) {
    const { name, symbol, colour } = task.values[value];
    const key = document.createElement("button");
    key.type = "button";
    key.dataset.value = value;
    key.setAttribute("aria-label", name);
    key.title = name;
    if (colour) key.style.backgroundColor = colour;
    else key.textContent = symbol;
    key.addEventListener("click", () => pick(value));
    at("palette").append(key);
  }
  pick(task.palette.find((value) => value !== task.palette[0]) ?? task.palette[0]);
}

function sayFacts() {
  const { task } = state;
  const right = Math.round(task.accuracy * task.demonstrations.length);
  at("facts").textContent =
    `It was learned from ${task.demonstrations.length} demonstrations, from scratch, and reproduces ` +
    `${right} of them. An answer is read out after ${task.steps} steps. It takes the values ` +
    `${task.palette.map((value) => task.values[value].name).join(", ")}.`;
}

function connect() {
  at("play").addEventListener("click", () => (state.playing ? pause() : play()));
  at("step").addEventListener("click", () => guarded(stepOnce));
  at("reset").addEventListener("click", () => (forget(), show()));
  at("timeline").addEventListener("input", () => (pause(), (state.shown = Number(at("timeline").value)), show()));
  at("inputs").addEventListener("change", () => choose(at("inputs").value));
  for (const id of ["rows", "columns"]) at(id).addEventListener("change", resize);
  const input = at("input");
  input.addEventListener("pointerdown", (event) => {
    if (!event.target.dataset.at) return;
    event.preventDefault();
    input.setPointerCapture(event.pointerId);
    draw(event.target);
    cellAt(...state.current)?.focus({ preventScroll: true });
  });
  input.addEventListener("pointermove", (event) => {
    if (!input.hasPointerCapture(event.pointerId)) return;
    const over = document.elementFromPoint(event.clientX, event.clientY);
    if (over?.parentElement?.parentElement === input) draw(over);
  });
  input.addEventListener("keydown", pressed);
}

// --- the input --------------------------------------------------------------------------------

function choose(key) {
  const { task } = state;
  const index = Number(key.slice(1));
  if (key === "") return;
  setGrid(key[0] === "t" ? task.inputs[index] : task.demonstrations[index][0], key);
}

function setGrid(grid, key = "") {
  forget();
  state.grid = grid.map((row) => [...row]);
  state.current = [0, 0];
  at("inputs").value = key;
  [at("rows").value, at("columns").value] = [grid.length, grid[0].length];
  fillGrid(at("input"), state.grid, null, true);
  show();
}

function resize() {
  const [rows, columns] = ["rows", "columns"].map((id) =>
    Math.min(LARGEST, Math.max(1, Math.round(Number(at(id).value)) || 1)),
  );
  const blank = state.task.palette[0];
  setGrid(
    Array.from({ length: rows }, (_, row) =>
      Array.from({ length: columns }, (_, column) => state.grid[row]?.[column] ?? blank),
    ),
  );
}

function pick(value) {
  state.brush = value;
  for (const key of at("palette").children) {
    key.setAttribute("aria-pressed", String(Number(key.dataset.value) === value));
  }
}

function draw(cell) {
  state.current = cell.dataset.at.split(",").map(Number);
  colour(...state.current, state.brush);
}

/** Give a cell of the input a value; what was thought of the input before is gone. */
function colour(row, column, value) {
  if (state.grid[row][column] === value) return;
  state.grid[row][column] = value;
  forget();
  at("inputs").value = "";
  paint(cellAt(row, column), value, 1);
  nameCell(row, column);
  show();
}

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const [row, column] = state.current;
  const [rows, columns] = [state.grid.length, state.grid[0].length];
  const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  const move = moves[event.key];
  const value = state.task.palette.find((one) => state.task.values[one].symbol === event.key);
  if (move) {
    cellAt(row, column).tabIndex = -1;
    state.current = [(row + move[0] + rows) % rows, (column + move[1] + columns) % columns];
    const cell = cellAt(...state.current);
    cell.tabIndex = 0;
    cell.focus();
  } else if (value !== undefined) colour(row, column, value);
  else if (event.key === "Enter") play();
  else return;
  event.preventDefault();
}

// --- thinking ---------------------------------------------------------------------------------

/** Drop the steps taken on the input before. */
function forget() {
  pause();
  Object.assign(state, { run: null, history: [], shown: 0 });
}

function pause() {
  state.playing = null;
}

/** Show the next step, taking it first if need be; false where there is none. */
async function advance() {
  if (state.shown === state.task.steps) return false;
  if (state.shown < state.history.length) {
    state.shown += 1;
    return true;
  }
  state.run ??= state.task.refine(state.grid);
  const { run } = state;
  const { value, done } = await run.next();
  if (state.run !== run || done) return false;
  state.history.push(value);
  state.shown = state.history.length;
  return true;
}

async function stepOnce() {
  pause();
  await advance();
  show();
}

async function play() {
  const me = {}; // a pause and a new start make this one stop
  state.playing = me;
  if (state.shown === state.task.steps) state.shown = 0;
  await guarded(async () => {
    while (state.playing === me && (await advance())) {
      if (state.playing !== me) return;
      show();
      if (state.shown < state.task.steps) await new Promise((done) => setTimeout(done, PACE));
    }
  });
  if (state.playing === me) pause();
  show();
}

async function guarded(action) {
  try {
    await action();
  } catch (error) {
    pause();
    complain(error.message);
  }
}

// --- showing ----------------------------------------------------------------------------------

function show() {
  const { task, history, shown } = state;
  const step = shown ? history[shown - 1] : null;
  let shape = null;
  hush();
  try {
    shape = task.outputShape(state.grid.length, state.grid[0].length);
  } catch (error) {
    complain(error.message);
  }
  const empty = shape && Array.from({ length: shape[0] }, () => new Array(shape[1]).fill(null));
  fillGrid(at("answer"), step?.grid ?? empty ?? [[null]], step?.certainty ?? null);
  at("answer").setAttribute("aria-label", step ? `Answer: ${spoken(step.grid)}` : "No answer yet");
  at("status").textContent = shape ? said(step) : "";
  at("status").classList.toggle("verified", isRight(step) === true);
  for (const id of ["play", "step"]) at(id).disabled = !shape;
  at("play").textContent = state.playing ? "Pause" : "Answer";
  at("reset").disabled = !history.length;
  at("timeline").max = history.length;
  at("timeline").value = shown;
  at("timeline").disabled = !history.length;
  at("timeline-value").textContent = shown ? `${shown} of ${task.steps}` : "–";
}

function said(step) {
  if (!step) return "Ready.";
  const all = step.certainty.flat();
  const mean = all.reduce((sum, one) => sum + one, 0) / all.length;
  const sure = `${Math.round(100 * mean)}% sure of a cell in the mean`;
  if (step.index < state.task.steps) return `Step ${step.index}: ${sure}.`;
  const right = isRight(step);
  if (right === null) return `Answered, ${sure}. Nothing here says whether that is right.`;
  return right ? "The demonstration's output." : "Not the demonstration's output.";
}

/** Whether a demonstration's output came out in the end; null where the input is none of theirs. */
function isRight(step) {
  if (!step || step.index < state.task.steps) return null;
  const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
  const pair = state.task.demonstrations.find(([before]) => same(before, state.grid));
  return pair ? same(pair[1], step.grid) : null;
}

function complain(text) {
  at("status").textContent = "";
  at("problem").textContent = text;
  at("problem").hidden = false;
}

function hush() {
  at("problem").hidden = true;
}

// --- grids ------------------------------------------------------------------------------------

function picture(grid, label) {
  const made = document.createElement("div");
  made.className = "grid";
  made.setAttribute("role", "img");
  made.setAttribute("aria-label", `${label}: ${spoken(grid)}`);
  fillGrid(made, grid, null);
  return made;
}

const spoken = (grid) =>
  `${grid.length} by ${grid[0].length}, rows ${grid.map((row) => row.map((one) => state.task.values[one].symbol).join("")).join(" ")}`;

/** Make an element show a grid; its cells are kept where the size has not changed. */
function fillGrid(root, grid, certainty, editable = false) {
  const [rows, columns] = [grid.length, grid[0].length];
  if (root.dataset.size !== `${rows},${columns}`) {
    root.dataset.size = `${rows},${columns}`;
    root.style.setProperty("--rows", rows);
    root.style.setProperty("--columns", columns);
    root.replaceChildren(
      ...grid.map((row, number) => {
        const line = document.createElement("div");
        if (editable) line.setAttribute("role", "row");
        line.append(
          ...row.map((_, column) => {
            const cell = document.createElement("i");
            if (editable) {
              cell.dataset.at = `${number},${column}`;
              cell.setAttribute("role", "gridcell");
              cell.tabIndex = -1;
            }
            return cell;
          }),
        );
        return line;
      }),
    );
  }
  grid.forEach((row, number) =>
    row.forEach((value, column) => {
      const cell = root.children[number].children[column];
      paint(cell, value, certainty?.[number][column] ?? 1);
      if (!editable) return;
      cell.tabIndex = String([number, column]) === String(state.current) ? 0 : -1;
      nameCell(number, column);
    }),
  );
}

function paint(cell, value, sure) {
  const { name, symbol, colour } = value === null ? {} : state.task.values[value];
  cell.classList.toggle("unknown", value === null);
  cell.style.backgroundColor = colour ?? "";
  cell.textContent = value === null || colour ? "" : symbol;
  cell.style.opacity = (0.15 + 0.85 * sure ** 2).toFixed(3);
  if (name) cell.title = name;
  else cell.removeAttribute("title");
}

function nameCell(row, column) {
  const { name } = state.task.values[state.grid[row][column]];
  cellAt(row, column).setAttribute("aria-label", `row ${row + 1}, column ${column + 1}: ${name}`);
}

const cellAt = (row, column) => at("input").children[row]?.children[column];

begin();
