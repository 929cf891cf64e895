/** The board: cells, each a stack of pencil marks and its symbol or colour over them. */

/** Below the first probability a cell shows pencil marks, above the second its digit. */
const [PENCIL, DIGIT] = [0.6, 0.68];
/** More values a cell, or cells a side, and there is no room for pencil marks. */
const [MOST_MARKS, LARGEST_MARKED] = [25, 16];

export class Board {
  #cells = [];
  #pencils = [];
  #digits = [];
  #current = 0;
  #root;
  #domain;
  #marked;
  #listening = new AbortController();
  #puzzle = null;
  /** Of a pointer that draws: what, the cell it is over, and what a moved value lies on. */
  #stroke = null;

  /**
   * @param {HTMLElement} root an element of role grid
   * @param {import("./trm.js").Domain} domain
   * @param {(changes: [cell: number, value: number][]) => void} onFill a person fills, empties or
   *   draws cells
   */
  constructor(root, domain, onFill) {
    this.#root = root;
    this.#domain = domain;
    this.onFill = onFill;
    root.classList.toggle("drawn", Boolean(domain.drawing));
    const { rows, columns, answers } = domain;
    this.#marked = answers.length <= MOST_MARKS && Math.max(rows, columns) <= LARGEST_MARKED;
    const [right, bottom] = thickEdges(domain);
    root.style.setProperty("--size", Math.max(rows, columns));
    root.style.setProperty("--mark-columns", Math.ceil(Math.sqrt(answers.length)));
    root.style.aspectRatio = `${columns} / ${rows}`;
    root.style.gridTemplate = `repeat(${rows}, minmax(0, 1fr)) / repeat(${columns}, minmax(0, 1fr))`;
    root.setAttribute("aria-rowcount", rows);
    root.setAttribute("aria-colcount", columns);
    root.setAttribute("aria-label", `Board of ${domain.name}`);
    root.classList.toggle("dense", Math.max(rows, columns) > LARGEST_MARKED);
    root.replaceChildren();
    for (let row = 0; row < rows; row += 1) {
      const line = element("div", { role: "row" });
      for (let column = 0; column < columns; column += 1) {
        const place = row * columns + column;
        const names = ["cell"];
        if (column === columns - 1) names.push("last-column");
        else if (right.has(place)) names.push("border-right");
        if (row === rows - 1) names.push("last-row");
        else if (bottom.has(place)) names.push("border-bottom");
        if (domain.shaded.has(place)) names.push("shaded");
        const cell = element("div", { role: "gridcell", class: names.join(" "), tabindex: "-1" });
        cell.style.setProperty("--wave", row + column);
        const pencil = element("span", { class: "pencil", "aria-hidden": "true" });
        for (const value of this.#marked ? answers : []) {
          const mark = element("i", {});
          const colour = domain.colour(value);
          if (colour) mark.style.backgroundColor = colour;
          else mark.textContent = domain.symbol(value);
          pencil.append(mark);
        }
        const digit = element("span", { class: "digit", "aria-hidden": "true" });
        cell.append(pencil, digit);
        line.append(cell);
        this.#cells.push(cell);
        this.#pencils.push(pencil.children);
        this.#digits.push(digit);
      }
      root.append(line);
    }
    this.#cells[0].tabIndex = 0;
    const { signal } = this.#listening;
    root.addEventListener("pointerdown", (event) => this.#pointed(event), { signal });
    root.addEventListener("pointermove", (event) => this.#dragged(event), { signal });
    for (const end of ["pointerup", "pointercancel"]) {
      root.addEventListener(end, () => (this.#stroke = null), { signal });
    }
    root.addEventListener("focusin", (event) => this.#focused(event), { signal });
    root.addEventListener("keydown", (event) => this.#pressed(event), { signal });
  }

  /** Stop listening: another board takes the same element. */
  close() {
    this.#listening.abort();
  }

  /** The cell that keys and the keypad act on. */
  get current() {
    return this.#current;
  }

  /**
   * Show a puzzle, and over its empty cells what the model thinks of them.
   *
   * @param {Int32Array} puzzle
   * @param {import("./trm.js").Step | null} step
   */
  show(puzzle, step) {
    const domain = this.#domain;
    const { answers } = domain;
    this.#puzzle = puzzle;
    const count = answers.length;
    const shown = step ? step.values : puzzle;
    const sureOf = (index) => step.probabilities[index * count + answers.indexOf(shown[index])] ?? 0;
    // Pencil marks clash all the time; what is worth a mark is a clash of digits.
    const written = Int32Array.from(shown, (value, index) =>
      step && !domain.isGiven(puzzle[index]) && sureOf(index) < DIGIT ? domain.blank : value,
    );
    const clashing = new Set(domain.conflicts(written).flatMap(({ cells }) => cells));
    const guessed = new Set(step && !step.verified ? step.guesses.map(({ cell }) => cell) : []);
    this.#cells.forEach((cell, index) => {
      const given = domain.isGiven(puzzle[index]);
      const value = shown[index];
      const empty = !step && !given;
      const thought = step && !given;
      const sure = thought ? sureOf(index) : 0;
      const confirmed = thought && step.verified; // no doubt is left, whatever the network says
      const unmarked = thought && !this.#marked ? 1 : smooth((sure - PENCIL) / (DIGIT - PENCIL));
      const asDigit = thought && !confirmed ? unmarked : Number(given || confirmed);
      const opacity = confirmed ? 1 : asDigit * (given ? 1 : sure ** 2);
      const colour = empty ? null : domain.colour(value);
      cell.classList.toggle("given", given);
      cell.classList.toggle("coloured", colour !== null);
      cell.classList.toggle("clash", clashing.has(index));
      cell.classList.toggle("guess", guessed.has(index));
      cell.style.setProperty("--sure", sure.toFixed(3));
      cell.style.setProperty("--digit", opacity.toFixed(3));
      cell.style.setProperty("--pencil", (1 - asDigit).toFixed(3));
      cell.style.setProperty("--fill", colour ?? "transparent");
      this.#digits[index].textContent = empty || colour ? "" : domain.symbol(value);
      [...this.#pencils[index]].forEach((mark, place) => {
        // The square root keeps a faint second thought visible.
        const share = thought ? step.probabilities[index * count + place] : 0;
        mark.style.opacity = thought ? Math.sqrt(share).toFixed(2) : "0";
      });
      const told = guessed.has(index) ? null : sure;
      cell.setAttribute("aria-label", this.#describe(index, given, empty ? null : value, told, clashing));
    });
    this.#root.classList.toggle("verified", Boolean(step?.verified));
  }

  /** Move to a cell, with the focus if wanted. */
  select(index, focus = true) {
    this.#cells[this.#current].tabIndex = -1;
    this.#current = index;
    this.#cells[index].tabIndex = 0;
    if (focus) this.#cells[index].focus({ preventScroll: true });
  }

  #describe(index, given, value, sure, clashing) {
    const size = this.#domain.columns;
    const place = `row ${Math.floor(index / size) + 1}, column ${(index % size) + 1}`;
    const clash = clashing.has(index) ? ", clashes" : "";
    if (value === null) return `${place}: empty`;
    const symbol = this.#domain.nameOf(value);
    if (given) return `${place}: ${symbol}, given${clash}`;
    if (sure === null) return `${place}: ${symbol}, tried out${clash}`;
    return `${place}: ${symbol}, ${Math.round(100 * sure)} percent sure${clash}`;
  }

  #pointed(event) {
    const index = this.#cells.indexOf(event.target.closest(".cell"));
    if (index >= 0) {
      event.preventDefault(); // no text selection; focus is set by hand
      this.select(index);
      this.#begin(index, event.pointerId);
    }
  }

  /** Begin a stroke, where the domain can be drawn: pick up a value, or draw over the cell. */
  #begin(index, pointer) {
    const { drawing } = this.#domain;
    if (!drawing) return;
    this.#root.setPointerCapture(pointer);
    const here = this.#puzzle[index];
    const [over, under] = drawing.brush;
    if (drawing.moved.includes(here)) this.#stroke = { moved: here, at: index, under };
    else {
      this.#stroke = { value: here === over ? under : over, at: index };
      this.onFill([[index, this.#stroke.value]]);
    }
  }

  #dragged(event) {
    if (!this.#stroke) return;
    const cell = document.elementFromPoint(event.clientX, event.clientY)?.closest(".cell");
    const index = this.#cells.indexOf(cell);
    if (index < 0 || index === this.#stroke.at) return;
    this.select(index);
    if (this.#stroke.moved === undefined) this.#draw(index);
    else this.#move(index);
  }

  /** Draw over all cells from the last one to this: a fast finger skips some. */
  #draw(index) {
    const { drawing, columns } = this.#domain;
    const { at, value } = this.#stroke;
    const [row, column] = [Math.floor(at / columns), at % columns];
    const [down, right] = [Math.floor(index / columns) - row, (index % columns) - column];
    const steps = Math.max(Math.abs(down), Math.abs(right));
    const changes = [];
    for (let step = 1; step <= steps; step += 1) {
      const share = step / steps;
      const cell = Math.round(row + share * down) * columns + Math.round(column + share * right);
      if (!drawing.moved.includes(this.#puzzle[cell])) changes.push([cell, value]);
    }
    this.#stroke.at = index;
    if (changes.length) this.onFill(changes);
  }

  /** Carry a value to this cell; what it lay on comes back, what it lies on now is kept. */
  #move(index) {
    const { moved, at, under } = this.#stroke;
    const here = this.#puzzle[index];
    if (this.#domain.drawing.moved.includes(here)) return;
    this.#stroke = { moved, at: index, under: here };
    this.onFill([[at, under], [index, moved]]);
  }

  /** Fill the current cell; a value that stands once leaves where it stood. */
  fill(value) {
    const { drawing } = this.#domain;
    const changes = [[this.#current, value]];
    const before = drawing?.moved.includes(value) ? this.#puzzle.indexOf(value) : -1;
    if (before >= 0 && before !== this.#current) changes.unshift([before, drawing.brush[1]]);
    this.onFill(changes);
  }

  #focused(event) {
    const index = this.#cells.indexOf(event.target);
    if (index >= 0 && index !== this.#current) this.select(index, false);
  }

  #pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { rows, columns } = this.#domain;
    const row = Math.floor(this.#current / columns);
    const column = this.#current % columns;
    const goTo = (r, c) => this.select(((r + rows) % rows) * columns + ((c + columns) % columns));
    const moves = {
      ArrowUp: () => goTo(row - 1, column),
      ArrowDown: () => goTo(row + 1, column),
      ArrowLeft: () => goTo(row, column - 1),
      ArrowRight: () => goTo(row, column + 1),
      Home: () => goTo(row, 0),
      End: () => goTo(row, columns - 1),
      Backspace: () => this.fill(this.#domain.blank),
      Delete: () => this.fill(this.#domain.blank),
    };
    const value = event.key.length === 1 ? this.#domain.valueOf(event.key) : -1;
    if (moves[event.key]) moves[event.key]();
    else if (this.#domain.isGiven(value) || this.#domain.blanks.includes(value)) {
      this.fill(value);
    } else return;
    event.preventDefault();
  }
}

/** Cells whose right, and whose lower edge is part of a thick line. */
function thickEdges({ borders, columns }) {
  const [right, bottom] = [new Set(), new Set()];
  for (const [left, top, end, low] of borders) {
    if (left === end) for (let row = top; row < low; row += 1) right.add(row * columns + left - 1);
    else for (let column = left; column < end; column += 1) bottom.add((top - 1) * columns + column);
  }
  return [right, bottom];
}

function smooth(x) {
  const t = Math.min(Math.max(x, 0), 1);
  return t * t * (3 - 2 * t);
}

function element(name, attributes) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}
