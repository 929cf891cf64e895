/**
 * Answer the inputs of one task with the network that has learned its demonstrations, in a browser
 * or in Node, with onnxruntime alone.
 *
 *   import { AdaptedTask } from "./task.js";
 *   const task = await AdaptedTask.load("model.onnx");
 *   const step = await task.solve([[0, 1], [1, 2]]);        // step.grid: rows of values
 *   for await (const { grid } of task.refine(task.inputs[0])) console.log(grid);
 *
 * The graph is one that `trm_sdk.export.adapted.export_adapted` writes; its metadata hold the task.
 * What a network sees of a grid is `trm_sdk.adapt.nodes.Coding`, which this follows name by name.
 */

import {
  ModelError,
  chooseBackend,
  firstLine,
  importRuntime,
  nameOf,
  parseJson,
  readBytes,
  readMetadata,
} from "./loading.js";
import { PuzzleError } from "./puzzle.js";

export { ModelError, PuzzleError };

/** Whether an input is repeated upside down, and left to right, in the views of an enlarged one. */
const MIRRORED = [
  [false, false],
  [true, false],
  [false, true],
  [true, true],
];
const MODE = "adapted-step";
/** Rows or columns of a grid, at most. */
const LARGEST = 127;

/**
 * A grid: rows of values, all of one length.
 *
 * @typedef {number[][]} Grid
 */

/**
 * One step of the network on one input.
 *
 * @typedef {object} Step
 * @property {number} index from 1
 * @property {Grid} grid the answer after this step
 * @property {number[][]} certainty the probability of each cell's value, 0 to 1
 * @property {number} seconds spent inside the network
 */

/** The network of one task. */
export class AdaptedTask {
  #ort;
  #session;
  #coding;
  #width;
  #turn = Promise.resolve();

  /** Use `AdaptedTask.load`. */
  constructor(ort, session, spec, backend) {
    this.#ort = ort;
    this.#session = session;
    this.#coding = spec.coding;
    this.#width = session.inputMetadata.find(({ name }) => name === "y").shape[1];
    /** "wasm" or "cpu" (Node). */
    this.backend = backend;
    this.name = spec.task.name;
    /** @type {Grid[]} The task's own test inputs. */
    this.inputs = spec.task.inputs;
    /** @type {[Grid, Grid][]} Inputs and outputs that were learned. */
    this.demonstrations = spec.task.demonstrations;
    /** Steps after which an answer is read out. */
    this.steps = spec.steps;
    /** Share of the demonstrations that the network reproduces. */
    this.accuracy = spec.accuracy;
    /** Name, symbol and fill (null where the symbol is written) of each value. */
    this.values = spec.values;
    /** Values that inputs may have. */
    this.palette = spec.coding.palette;
  }

  /**
   * Load an exported task.
   *
   * @param {string | URL | Uint8Array} source the `.onnx` file, or its bytes
   * @param {object} [options]
   * @param {"auto" | "wasm"} [options.backend] in a browser
   * @param {number} [options.threads] default 1
   * @param {object} [options.ort] an onnxruntime module, if not the one found by name
   */
  static async load(source, { backend = "wasm", threads = 1, ort } = {}) {
    const bytes = source instanceof Uint8Array ? source : await readBytes(source);
    const name = nameOf(source);
    const metadata = readMetadata(bytes, name);
    if (metadata.trm_mode !== MODE) {
      throw new ModelError(`${name} is not the graph of an adapted solver`);
    }
    const spec = parseJson(metadata.trm_spec, name);
    if (!spec.coding || !spec.values) {
      throw new ModelError(`${name} is of an older version: export it again`);
    }
    const chosen = await chooseBackend(backend, bytes.length);
    ort ??= await importRuntime(chosen);
    if (ort.env?.wasm) ort.env.wasm.numThreads = threads;
    const options = { executionProviders: [chosen], logSeverityLevel: 3 };
    if (chosen === "cpu") options.intraOpNumThreads = threads;
    let session;
    try {
      session = await ort.InferenceSession.create(bytes, options);
    } catch (error) {
      throw new ModelError(`${name} can't be run by onnxruntime: ${firstLine(error)}`);
    }
    return new AdaptedTask(ort, session, spec, chosen);
  }

  /**
   * Check a grid and copy it.
   *
   * @param {ArrayLike<ArrayLike<number>>} grid
   * @returns {Grid}
   */
  parse(grid) {
    const rows = Array.from(grid ?? [], (row) => Array.from(row ?? []));
    const columns = rows[0]?.length ?? 0;
    if (!columns || rows.length > LARGEST || columns > LARGEST) {
      throw new PuzzleError(`a grid must have 1 to ${LARGEST} rows and columns; got ${rows.length}x${columns}`);
    }
    rows.forEach((row, number) => {
      if (row.length !== columns) {
        throw new PuzzleError(`row ${number + 1} must have ${columns} cells, as row 1; got ${row.length}`);
      }
      const unknown = row.find((value) => !this.palette.includes(value));
      if (unknown !== undefined) {
        throw new PuzzleError(
          `the value ${unknown} in row ${number + 1} is not among those of the task, ${this.palette.join(", ")}`,
        );
      }
    });
    return rows;
  }

  /**
   * The size of the answer to an input of some size.
   *
   * @returns {[number, number]} rows and columns; throws a PuzzleError where the task's sizes have
   *   no answer for it
   */
  outputShape(rows, columns) {
    const { rule } = this.#coding;
    let shape = rule.kind === "same" ? [rows, columns] : rule.shape;
    if (rule.kind === "ratio") {
      shape = [rows, columns].map((size, axis) => (size * rule.ratio[axis][0]) / rule.ratio[axis][1]);
    }
    const whole = shape.every((size) => Number.isInteger(size) && size >= 1 && size <= LARGEST);
    if (!whole || !this.#fits([rows, columns], shape)) {
      throw new PuzzleError(
        `an input of ${rows}x${columns} has no answer by the size rule of the demonstrations (${rule.kind})`,
      );
    }
    return shape;
  }

  /**
   * Every step of the network on one input.
   *
   * @param {Grid} input
   * @param {{steps?: number, signal?: AbortSignal}} [options]
   * @returns {AsyncGenerator<Step>}
   */
  async *refine(input, { steps = this.steps, signal } = {}) {
    const grid = this.parse(input);
    const shape = this.outputShape(grid.length, grid[0].length);
    const { feeds, members, canvas } = this.#encode(grid, shape);
    for (let index = 1; index <= steps; index += 1) {
      signal?.throwIfAborted();
      const begun = performance.now();
      const { next_y: y, next_z: z, logits } = await this.#run(feeds);
      const seconds = (performance.now() - begun) / 1000;
      Object.assign(feeds, { y, z });
      yield { index, ...this.#decode(logits.data, members, canvas, shape), seconds };
    }
  }

  /** The step at which the answer is read out. */
  async solve(input, options) {
    let last;
    for await (const step of this.refine(input, options)) last = step;
    return last;
  }

  /** One call at a time: WebAssembly's sessions are not reentrant. */
  #run(feeds) {
    const turn = this.#turn.then(() => this.#session.run(feeds));
    this.#turn = turn.catch(() => {});
    return turn;
  }

  #fits(before, after) {
    const { kind, blocks, gaps } = this.#coding.view;
    if (kind === "same") return before.every((size, axis) => size === after[axis]);
    if (kind === "zoom") return before.every((size, axis) => after[axis] % size === 0);
    if (kind !== "blocks") return true;
    return before.every(
      (size, axis) => size === blocks[axis] * after[axis] + (blocks[axis] - 1) * gaps[axis],
    );
  }

  /** What each cell of the canvas sees of the input, view by view; -1 where there is nothing. */
  #look(cells, [rows, columns]) {
    const { kind, blocks, gaps } = this.#coding.view;
    const [height, width] = [cells.length, cells[0].length];
    const made = (at) =>
      Array.from({ length: rows }, (_, row) => Array.from({ length: columns }, (_, column) => at(row, column)));
    if (kind === "zoom") {
      const [down, right] = [rows / height, columns / width];
      return [
        made((row, column) => cells[Math.floor(row / down)][Math.floor(column / right)]),
        ...MIRRORED.map(([down, right]) =>
          made((row, column) => {
            const [y, x] = [row % height, column % width];
            return cells[down ? height - 1 - y : y][right ? width - 1 - x : x];
          }),
        ),
      ];
    }
    if (kind === "blocks") {
      const views = [];
      for (let block = 0; block < blocks[0] * blocks[1]; block += 1) {
        const top = Math.floor(block / blocks[1]) * (rows + gaps[0]);
        const left = (block % blocks[1]) * (columns + gaps[1]);
        views.push(made((row, column) => cells[top + row][left + column]));
      }
      return views;
    }
    return [made((row, column) => cells[row]?.[column] ?? -1)];
  }

  #encode(grid, shape) {
    const { palette, brought, blank, view } = this.#coding;
    const cells = grid.map((row) => row.map((value) => palette.indexOf(value)));
    const occurs = new Set(grid.flat());
    const kept = new Set([...brought, ...occurs]);
    const members = [...palette.keys()].filter((index) => kept.has(palette[index]));
    const canvas =
      view.kind === "corner" ? shape.map((size, axis) => Math.max(size, axis ? grid[0].length : grid.length)) : shape;
    const seen = this.#look(cells, canvas);
    const [rows, columns] = canvas;
    const [area, views] = [rows * columns, seen.length];
    const repeated = view.kind === "zoom";
    const count = 2 * views + (repeated ? 7 : 5);
    const features = new Float32Array(members.length * count * area);
    members.forEach((member, number) => {
      const black = palette[member] === blank;
      const put = (feature, place, value) => {
        features[(number * count + feature) * area + place] = value;
      };
      for (let place = 0; place < area; place += 1) {
        const [row, column] = [Math.floor(place / columns), place % columns];
        seen.forEach((look, index) => {
          const own = Number(look[row][column] === member);
          put(index, place, own);
          if (black) put(views + index, place, own);
        });
        put(2 * views, place, Number(black));
        put(2 * views + 1, place, Number(occurs.has(palette[member])));
        put(2 * views + 2, place, Number(row < shape[0] && column < shape[1]));
        put(2 * views + 3, place, Number(seen[0][row][column] >= 0));
        put(2 * views + 4, place, 1);
        if (repeated) {
          put(2 * views + 5, place, Math.floor(row / grid.length) % 2);
          put(2 * views + 6, place, Math.floor(column / grid[0].length) % 2);
        }
      }
    });
    const outside = palette.length;
    const sources = seen[0].flat().map((index) => BigInt(index < 0 ? outside : index));
    const size = [members.length, this.#width, rows, columns];
    const zeros = () => new this.#ort.Tensor("float32", new Float32Array(area * size[0] * size[1]), size);
    const { Tensor } = this.#ort;
    const feeds = {
      features: new Tensor("float32", features, [members.length, count, rows, columns]),
      members: new Tensor("int64", BigInt64Array.from(members, BigInt), [members.length]),
      sources: new Tensor("int64", BigInt64Array.from(sources), [rows, columns]),
      y: zeros(),
      z: zeros(),
    };
    return { feeds, members, canvas };
  }

  #decode(logits, members, [rows, columns], shape) {
    const area = rows * columns;
    const grid = [];
    const certainty = [];
    for (let row = 0; row < shape[0]; row += 1) {
      grid.push([]);
      certainty.push([]);
      for (let column = 0; column < shape[1]; column += 1) {
        const own = members.map((_, number) => logits[number * area + row * columns + column]);
        const most = Math.max(...own);
        const total = own.reduce((sum, logit) => sum + Math.exp(logit - most), 0);
        grid[row].push(this.palette[members[own.indexOf(most)]]);
        certainty[row].push(1 / total);
      }
    }
    return { grid, certainty };
  }
}
