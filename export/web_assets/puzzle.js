/**
 * What a kind of puzzle is: how it is written, and its rules where they are known here.
 *
 * A `Domain` is made from the description that `trm-export` puts into a graph's metadata
 * (`domain_description`) and into `model.json`; it knows no puzzle by name.
 */

import { Deduction } from "./deduction.js";

/** A puzzle can't be read, has the wrong size, or contradicts itself. */
export class PuzzleError extends Error {
  name = "PuzzleError";
}

const RULED_LINES = /[|+\-=/\u2500-\u257f]/g;
const DIGITS = "123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const BLANK = { symbol: ".", aliases: "0_*?" };
/** Boards have at most this many cells: more is a mistake, or an attack on the memory. */
const MOST_CELLS = 1 << 20;

/**
 * @typedef {object} Description
 * @property {string} name
 * @property {[number, number]} shape rows and columns of the usual board
 * @property {boolean} [any_size] whether boards of every shape are taken
 * @property {{name: string, symbol: string, roles: string[], colour?: string, aliases?: string}[]} tokens
 * @property {[number, number, number, number][]} [borders] thick lines: column, row, column, row
 * @property {number[]} [shaded] cells on a ground of their own
 * @property {{name: string, groups: number[][]}[]} [distinct] no value appears twice in any group
 * @property {boolean} [distinct_is_all] whether there are no other rules
 */

/**
 * What a module beside the model may say about a domain whose rules are not `distinct` alone; all
 * of it is optional. `domain` is the `Domain` of the board at hand.
 *
 * @typedef {object} Rules
 * @property {(puzzle: Int32Array, answer: Int32Array, domain: Domain) => boolean} [verify]
 * @property {(values: Int32Array, domain: Domain) => Conflict[]} [conflicts]
 * @property {(values: Int32Array, context: {puzzle: Int32Array, heads: Record<string, Float32Array>,
 *   domain: Domain}) => Int32Array} [decode] the answer that the network's values and heads stand for
 * @property {(puzzle: Int32Array, heads: Record<string, Float32Array>, domain: Domain) =>
 *   ArrayLike<number>[]} [alternatives] further answers that the heads stand for, in order of preference:
 *   where `verify` refutes the answer, the first of them that it confirms takes its place
 * @property {{brush: [string, string], moved: string[]}} [drawing] names of values, for domains whose
 *   boards are drawn rather than filled in: a pointer draws the first of `brush` over other cells and
 *   the second over the first; it carries those of `moved`, which stand once
 * @property {{key: string, kind: string}} [ownGroups] groups of cells that each puzzle brings, such as a
 *   jigsaw's regions: their weights key in the graph, and what one is called. No value appears twice
 *   in them, and together with `distinct` they are all the rules, unless there is a `verify`
 * @property {(text: string, domain: Domain) => {board: string, groups: number[][]}} [read] the board and
 *   its groups in a text; throws where there are none. With `ownGroups`
 * @property {(groups: number[][], domain: Domain) => string} [write] groups as text, which `read` takes
 *   behind the board. With `ownGroups`
 *
 * @typedef {{kind: string, number: number, value: number, cells: number[]}} Conflict
 */

export class Domain {
  /** Token of a cell value. */
  #first;
  #byCharacter = new Map();
  #numbers;
  #rules;
  #description;
  /** undefined: not made yet; null: nothing can be deduced. */
  #deduction;

  /**
   * @param {Description} description
   * @param {{rules?: Rules | null, shape?: [number, number], own?: number[][] | null}} [options] rules
   *   beyond `distinct`, the shape of the board where it isn't the usual one, and the groups that
   *   the puzzle at hand brings (`Rules.ownGroups`)
   */
  constructor(description, { rules = null, shape = description.shape, own = null } = {}) {
    this.#description = description;
    this.#rules = rules;
    this.name = description.name;
    this.anySize = Boolean(description.any_size);
    [this.rows, this.columns] = shape;
    this.cells = this.rows * this.columns;
    const usual = shape[0] === description.shape[0] && shape[1] === description.shape[1];
    const { tokens } = description;
    this.#first = tokens.filter(({ roles }) => roles.includes("pad")).length;
    /** What the cell values 0, 1, ... are: name, symbol, roles, colour. */
    this.values = tokens.slice(this.#first);
    this.values.forEach(({ symbol, aliases = "" }, value) => {
      for (const character of symbol + aliases) this.#byCharacter.set(character, value);
    });
    this.#numbers = isNumbers(this.values);
    /** Values that an answer may hold, ascending: what the columns of probabilities stand for. */
    this.answers = this.#having("answer");
    /** Values that stand in the answer as they stand in a puzzle. */
    this.givens = this.#having("given");
    /** Values of a cell that wants an answer. */
    this.blanks = this.#having("blank");
    /** The value of an emptied cell. */
    this.blank = this.blanks[0] ?? 0;
    /** The groups that puzzles bring, and those of this one: null where there are none. */
    this.brings = rules?.ownGroups ?? null;
    this.own = this.brings && own;
    /** Groups of cells in which each value stands at most once. */
    this.groups = [
      ...(usual ? description.distinct ?? [] : []),
      ...(this.own ? [{ name: this.brings.kind, groups: this.own }] : []),
    ].flatMap(({ name, groups }) =>
      groups.map((cells, index) => ({ kind: name, number: index + 1, cells })),
    );
    /** Thick lines along cell edges; the frame is not among them. */
    this.borders = [
      ...(usual ? description.borders ?? [] : []).filter((line) => !this.#isFrame(line)),
      ...(this.own ? edgesBetween(this.own, this.columns) : []),
    ];
    /** How a pointer draws on boards, by values; null where it doesn't. */
    this.drawing = rules?.drawing ? this.#drawn(rules.drawing) : null;
    /** Cells on a ground of their own. */
    this.shaded = new Set(usual ? description.shaded ?? [] : []);
    /** Whether `verify` gives a verdict. */
    this.hasRules =
      Boolean(rules?.verify || this.own) || (usual && Boolean(description.distinct_is_all));
  }

  #drawn({ brush, moved }) {
    const valueOf = (name) => this.values.findIndex((one) => one.name === name);
    return { brush: brush.map(valueOf), moved: moved.map(valueOf) };
  }

  #having(role) {
    return this.values.flatMap(({ roles }, value) => (roles.includes(role) ? [value] : []));
  }

  #isFrame([left, top, right, bottom]) {
    const upright = left === right && (left === 0 || left === this.columns);
    return upright || (top === bottom && (top === 0 || top === this.rows));
  }

  /** The same domain on boards of another shape; throws a PuzzleError where there are none. */
  resized(rows, columns) {
    if (rows === this.rows && columns === this.columns) return this;
    const usual = this.#description.shape;
    if (!this.anySize && !(rows === usual[0] && columns === usual[1])) {
      throw new PuzzleError(`${this.name} takes boards of ${usual[0]}x${usual[1]}; got ${rows}x${columns}`);
    }
    return new Domain(this.#description, { rules: this.#rules, shape: [rows, columns] });
  }

  /** The same domain on the board of one puzzle, as `parse` returns it: its shape, and its groups. */
  on({ rows, columns, groups: own = null }) {
    const domain = this.resized(rows, columns);
    if (!this.brings || own === domain.own) return domain;
    return new Domain(this.#description, { rules: this.#rules, shape: [rows, columns], own });
  }

  /** The groups that this puzzle brings, by weights key. */
  get ownGroups() {
    return this.own ? { [this.brings.key]: this.own } : {};
  }

  // --- cells and text ---------------------------------------------------------------------------

  /** The value of a character, -1 where it stands for none. */
  valueOf(character) {
    return this.#byCharacter.get(character) ?? -1;
  }

  /** The character of a value. */
  symbol(value) {
    return this.values[value]?.symbol ?? "?";
  }

  /** The name of a value. */
  nameOf(value) {
    return this.values[value]?.name ?? String(value);
  }

  /** The colour that fills a cell of this value, or null: its symbol is written instead. */
  colour(value) {
    return this.values[value]?.colour ?? null;
  }

  /** The network's token of a value. */
  tokenOf(value) {
    return value + this.#first;
  }

  /** The value of a token; 0 for padding. */
  valueOfToken(token) {
    return Math.max(token - this.#first, 0);
  }

  isGiven(value) {
    return this.values[value]?.roles.includes("given") ?? false;
  }

  /** Values as text: on one line for boards of the usual shape, or on a line a row. */
  format(values) {
    const characters = Array.from(values, (value) => this.symbol(value));
    const [rows, columns] = this.#description.shape;
    if (rows === this.rows && columns === this.columns) return characters.join("");
    const lines = Array.from({ length: this.rows }, (_, row) =>
      characters.slice(row * this.columns, (row + 1) * this.columns).join(""),
    );
    return lines.join("\n");
  }

  /** A puzzle as text that `parse` reads: its values and, where it brings some, its groups. */
  write(puzzle) {
    const board = this.format(puzzle);
    return this.own ? `${board} ${this.#rules.write(this.own, this)}` : board;
  }

  /**
   * Read a puzzle: text of one character a cell, on one line or a line a row; or values, as an array
   * of rows or in a row. Throws a PuzzleError that names what was wrong, also where givens contradict
   * or plain deduction shows that there is no solution.
   *
   * @param {string | ArrayLike<number> | ArrayLike<number>[]} puzzle values have the puzzle's groups
   *   in a property `groups`, where it brings some
   * @returns {Int32Array} values, with the properties `rows` and `columns`, and perhaps `groups`
   */
  parse(puzzle) {
    const { values, rows, columns, groups } = this.read(puzzle);
    const domain = this.on({ rows, columns, groups });
    domain.#checkValues(values);
    if (this.brings && !domain.own) {
      throw new PuzzleError(`a puzzle of ${this.name} must bring its ${this.brings.kind}s (groups)`);
    }
    const [first] = domain.conflicts(values);
    if (first) throw new PuzzleError(domain.describeConflict(first));
    domain.#refuseImpossible(values);
    return Object.assign(Int32Array.from(values), { rows, columns, ...(groups && { groups }) });
  }

  /** The same without asking for the rules, nor whether the values may stand in a puzzle. */
  read(puzzle) {
    if (typeof puzzle === "string") return this.brings ? this.#readBoth(puzzle) : this.#readBoard(puzzle);
    if (!isList(puzzle)) {
      throw new PuzzleError(`a puzzle must be text or an array of values; got ${typeof puzzle}`);
    }
    if (puzzle.length && isList(puzzle[0])) return this.#inRows(Array.from(puzzle, (row) => Array.from(row)));
    const { rows, columns, groups } = puzzle;
    if (rows * columns === puzzle.length) return { values: Array.from(puzzle), rows, columns, groups };
    return { ...this.#inRow(Array.from(puzzle)), groups };
  }

  #readBoard(text) {
    return this.#numbers ? this.#readNumbers(text) : this.#readText(text);
  }

  /** A board and the groups that it brings. */
  #readBoth(text) {
    let found;
    try {
      found = this.#rules.read(text, this);
    } catch (error) {
      throw new PuzzleError(error.message);
    }
    return { ...this.#readBoard(found.board), groups: found.groups };
  }

  #readNumbers(text) {
    const lines = text.split(/\r?\n/).filter((line) => !line.trimStart().startsWith("#"));
    const characters = [...lines.join("").replace(RULED_LINES, "").replace(/[\s,;\ufeff]/g, "")];
    return this.#inRow(characters.map((character, place) => this.#valueIn(character, place)));
  }

  #readText(text) {
    let lines = text.replace(/^\ufeff/, "").split(/\r\n|[\r\n]/);
    if (this.valueOf(" ") < 0) lines = lines.map((line) => line.replace(/\s/g, ""));
    lines = lines.filter((line) => line);
    if (!lines.length) throw new PuzzleError("there are no cells in the text");
    const rows = lines.map((line) => [...line].map((character, place) => this.#valueIn(character, place)));
    return rows.length === 1 ? this.#inRow(rows[0]) : this.#inRows(rows);
  }

  #valueIn(character, place) {
    const value = this.valueOf(character);
    if (value >= 0) return value;
    const known = [...this.#byCharacter.keys()].map((symbol) => JSON.stringify(symbol).slice(1, -1)).join(" ");
    throw new PuzzleError(
      `${JSON.stringify(character)} in place ${place + 1} is not a cell: a cell is one of ${known}`,
    );
  }

  #inRow(values) {
    const [rows, columns] = this.#description.shape;
    if (values.length === this.cells) return { values, rows: this.rows, columns: this.columns };
    if (values.length === rows * columns) return { values, rows, columns };
    if (this.anySize && values.length) return this.#inRows([values]);
    throw new PuzzleError(
      `${this.name} takes ${rows}x${columns} = ${rows * columns} cells; got ${values.length}`,
    );
  }

  #inRows(rows) {
    const lengths = [...new Set(rows.map(({ length }) => length))];
    if (lengths.length > 1) throw new PuzzleError(`rows must be of equal length; got ${lengths.join(" and ")}`);
    if (!lengths[0] || rows.length * lengths[0] > MOST_CELLS) {
      throw new PuzzleError(`a board must have 1 to ${MOST_CELLS} cells; got ${rows.length}x${lengths[0]}`);
    }
    this.resized(rows.length, lengths[0]); // refuses shapes that there are none of
    return { values: rows.flat(), rows: rows.length, columns: lengths[0] };
  }

  #checkValues(values) {
    const allowed = new Set([...this.blanks, ...this.givens]);
    values.forEach((value, cell) => {
      if (Number.isInteger(value) && allowed.has(value)) return;
      const names = [...allowed].sort((a, b) => a - b).map((one) => `${one} (${this.nameOf(one)})`);
      throw new PuzzleError(
        `a puzzle of ${this.name} holds ${names.join(", ")}; got ${String(value)} in ` +
          `row ${Math.floor(cell / this.columns) + 1}, column ${(cell % this.columns) + 1}`,
      );
    });
  }

  // --- rules ------------------------------------------------------------------------------------

  /** Values that stand more than once in a group, group by group. @returns {Conflict[]} */
  conflicts(values) {
    if (this.#rules?.conflicts) return this.#rules.conflicts(values, this);
    const found = [];
    for (const { kind, number, cells } of this.groups) {
      const places = new Map();
      for (const cell of cells) {
        const value = values[cell];
        const counts = this.isGiven(value) || this.answers.includes(value);
        if (counts && !this.blanks.includes(value)) places.set(value, [...(places.get(value) ?? []), cell]);
      }
      for (const [value, members] of places) {
        if (members.length > 1) found.push({ kind, number, value, cells: members });
      }
    }
    return found;
  }

  /** What follows from the groups; null where they say nothing, or givens are no answers. */
  #deduce() {
    if (this.#deduction === undefined) {
      const { answers, cells } = this;
      const groups = this.groups.map((group) => group.cells);
      const known = groups.length && this.givens.every((value) => answers.includes(value));
      this.#deduction = known ? new Deduction(cells, answers.length, groups) : null;
    }
    return this.#deduction;
  }

  /** What each cell of a puzzle may hold, as `Deduction` takes it. */
  #masks(values) {
    const { answers } = this;
    const everything = (1n << BigInt(answers.length)) - 1n;
    const bits = new Map(answers.map((value, place) => [value, 1n << BigInt(place)]));
    return Array.from(values, (value) => (this.isGiven(value) ? bits.get(value) : everything));
  }

  /**
   * Do the rules prove that a puzzle has no solution? False where they don't, or not within a moment.
   *
   * @param {ArrayLike<number>} puzzle
   */
  isRefuted(puzzle) {
    return this.countSolutions(puzzle, 1) === 0;
  }

  /**
   * The number of solutions, at most `limit`; null where it can't be told, or takes too long.
   *
   * @param {ArrayLike<number>} puzzle
   * @param {number} limit
   */
  countSolutions(puzzle, limit) {
    return this.hasRules ? (this.#deduce()?.count(this.#masks(puzzle), limit) ?? null) : null;
  }

  #refuseImpossible(values) {
    const { answers, groups } = this;
    const found = this.#deduce()?.contradiction(this.#masks(values));
    if (!found) return;
    if ("cell" in found) {
      const row = Math.floor(found.cell / this.columns) + 1;
      const column = (found.cell % this.columns) + 1;
      throw new PuzzleError(
        `the puzzle has no solution: no value is left for row ${row}, column ${column}`,
      );
    }
    const { kind, number } = groups[found.group];
    const name = this.nameOf(answers[found.value]);
    throw new PuzzleError(`the puzzle has no solution: no place is left for ${name} in ${kind} ${number}`);
  }

  describeConflict({ kind, number, value, cells }) {
    return `contradicting givens: ${this.nameOf(value)} appears ${cells.length} times in ${kind} ${number}`;
  }

  /** Does the answer obey the rules and keep the givens? null: there are no rules to check by. */
  verify(puzzle, answer) {
    if (!this.hasRules) return null;
    if (!isList(answer) || answer.length !== this.cells || puzzle.length !== this.cells) return false;
    const values = Array.from(answer);
    if (this.#rules?.verify) return this.#rules.verify(puzzle, Int32Array.from(values), this) === true;
    const kept = values.every((value, cell) => {
      if (!this.answers.includes(value)) return false; // nor is anything but an integer
      return !this.isGiven(puzzle[cell]) || puzzle[cell] === value;
    });
    return kept && !this.conflicts(values).length;
  }

  /** The answer that the network's values stand for. */
  decode(values, context) {
    return this.#rules?.decode ? this.#rules.decode(values, { ...context, domain: this }) : values;
  }

  /** The first further answer of the network's heads that obeys the rules, or null. */
  alternative(puzzle, heads) {
    if (!this.hasRules || !this.#rules?.alternatives) return null;
    const found = this.#rules.alternatives(puzzle, heads, this);
    const right = Array.from(found).find((answer) => this.verify(puzzle, answer));
    return right ? Int32Array.from(right) : null;
  }
}

/** Thick lines between groups of cells: column, row, column, row. */
function edgesBetween(groups, columns) {
  const number = new Map(groups.flatMap((cells, index) => cells.map((cell) => [cell, index])));
  const lines = [];
  for (const [cell, index] of number) {
    const [row, column] = [Math.floor(cell / columns), cell % columns];
    const right = column + 1 < columns && number.has(cell + 1) && number.get(cell + 1) !== index;
    const below = number.has(cell + columns) && number.get(cell + columns) !== index;
    if (right) lines.push([column + 1, row, column + 1, row + 1]);
    if (below) lines.push([column, row + 1, column + 1, row + 1]);
  }
  return lines;
}

function isList(value) {
  return Array.isArray(value) || (ArrayBuffer.isView(value) && !(value instanceof DataView));
}

/** Is this a board of numbers, which people write with rules, commas and comments? */
function isNumbers(values) {
  return values.every(({ symbol }, value) => symbol === (value ? DIGITS[value - 1] : BLANK.symbol));
}

/**
 * The description of a domain from a graph that carries none, as older ones: symbols by position, no
 * rules.
 *
 * @param {{domain: string, vocabulary: string[], grid_shape: [number, number]}} spec
 * @param {number[]} answerTokens
 * @param {number[]} givenTokens
 * @returns {Description}
 */
export function describeSpec(spec, answerTokens, givenTokens) {
  const padded = spec.vocabulary[0] === "pad" ? 1 : 0;
  const tokens = spec.vocabulary.map((name, token) => {
    const value = token - padded;
    if (value < 0) return { name, symbol: " ", roles: ["pad"] };
    if (value === 0) return { name, ...BLANK, roles: ["blank"] };
    const symbol = DIGITS[value - 1] ?? String.fromCodePoint(0xe000 + value); // private use: no clash
    const roles = [
      ...(givenTokens.includes(token) ? ["given"] : ["blank"]),
      ...(answerTokens.includes(token) ? ["answer"] : []),
    ];
    return { name, symbol, roles, aliases: symbol === symbol.toLowerCase() ? "" : symbol.toLowerCase() };
  });
  return { name: spec.domain, shape: spec.grid_shape, tokens };
}
