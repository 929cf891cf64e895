/** The board: 81 cells (or however many), each a stack of pencil marks and a digit over them. */

/** Below the first probability a cell shows pencil marks, above the second its digit. */
const [PENCIL, DIGIT] = [0.6, 0.68];

export class Board {
  #cells = [];
  #pencils = [];
  #digits = [];
  #current = 0;
  #root;
  #domain;

  /**
   * @param {HTMLElement} root an element of role grid
   * @param {import("./trm.js").Domain} domain
   * @param {(cell: number, value: number) => void} onFill a person fills or empties a cell
   */
  constructor(root, domain, onFill) {
    this.#root = root;
    this.#domain = domain;
    this.onFill = onFill;
    const size = domain.rows;
    const box = domain.groups.find(({ kind }) => kind === "box").cells;
    const wide = box.filter((cell) => cell < size).length; // of the first row
    const high = size / wide;
    root.style.setProperty("--size", size);
    root.style.setProperty("--box-columns", wide);
    root.style.gridTemplate = `repeat(${size}, minmax(0, 1fr)) / repeat(${size}, minmax(0, 1fr))`;
    root.setAttribute("aria-rowcount", size);
    root.setAttribute("aria-colcount", size);
    root.replaceChildren();
    for (let row = 0; row < size; row += 1) {
      const line = element("div", { role: "row" });
      for (let column = 0; column < size; column += 1) {
        const names = ["cell"];
        if (column === size - 1) names.push("last-column");
        else if ((column + 1) % wide === 0) names.push("box-right");
        if (row === size - 1) names.push("last-row");
        else if ((row + 1) % high === 0) names.push("box-bottom");
        const cell = element("div", { role: "gridcell", class: names.join(" "), tabindex: "-1" });
        cell.style.setProperty("--wave", row + column);
        const pencil = element("span", { class: "pencil", "aria-hidden": "true" });
        for (let value = 1; value <= domain.values; value += 1) {
          const mark = element("i", {});
          mark.textContent = domain.symbol(value);
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
    root.addEventListener("pointerdown", (event) => this.#pointed(event));
    root.addEventListener("focusin", (event) => this.#focused(event));
    root.addEventListener("keydown", (event) => this.#pressed(event));
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
    const { values: count } = this.#domain;
    const shown = step ? step.values : puzzle;
    const sureOf = (index) => step.probabilities[index * count + shown[index] - 1] ?? 0;
    // Pencil marks clash all the time; what is worth a mark is a clash of digits.
    const written = shown.map((value, index) => (step && sureOf(index) < DIGIT ? 0 : value));
    const clashing = new Set(this.#domain.conflicts(written).flatMap(({ cells }) => cells));
    const guessed = step?.guess && !step.verified ? step.guess.cell : -1;
    this.#cells.forEach((cell, index) => {
      const given = puzzle[index] > 0;
      const value = shown[index];
      const thought = step && !given;
      const row = thought ? step.probabilities.subarray(index * count, (index + 1) * count) : null;
      const sure = thought ? sureOf(index) : 0;
      const confirmed = thought && step.verified; // no doubt is left, whatever the network says
      const asDigit =
        thought && !confirmed ? smooth((sure - PENCIL) / (DIGIT - PENCIL)) : Number(given || confirmed);
      const opacity = confirmed ? 1 : asDigit * (given ? 1 : sure ** 2);
      cell.classList.toggle("given", given);
      cell.classList.toggle("clash", clashing.has(index));
      cell.classList.toggle("guess", index === guessed);
      cell.style.setProperty("--sure", sure.toFixed(3));
      cell.style.setProperty("--digit", opacity.toFixed(3));
      cell.style.setProperty("--pencil", (1 - asDigit).toFixed(3));
      this.#digits[index].textContent = value ? this.#domain.symbol(value) : "";
      for (let mark = 0; mark < count; mark += 1) {
        // The square root keeps a faint second thought visible.
        this.#pencils[index][mark].style.opacity = thought ? Math.sqrt(row[mark]).toFixed(2) : "0";
      }
      cell.setAttribute("aria-label", this.#describe(index, given, value, index === guessed ? null : sure, clashing));
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
    if (!value) return `${place}: empty`;
    const symbol = this.#domain.symbol(value);
    if (given) return `${place}: ${symbol}, given${clash}`;
    if (sure === null) return `${place}: ${symbol}, tried out${clash}`;
    return `${place}: ${symbol}, ${Math.round(100 * sure)} percent sure${clash}`;
  }

  #pointed(event) {
    const index = this.#cells.indexOf(event.target.closest(".cell"));
    if (index >= 0) {
      event.preventDefault(); // no text selection; focus is set by hand
      this.select(index);
    }
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
      Backspace: () => this.onFill(this.#current, 0),
      Delete: () => this.onFill(this.#current, 0),
    };
    const value = event.key.length === 1 ? this.#domain.valueOf(event.key) : -1;
    if (moves[event.key]) moves[event.key]();
    else if (value >= 0) this.onFill(this.#current, value);
    else return;
    event.preventDefault();
  }
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
