/**
 * Solve puzzles with a Tiny Recursion Model, in a browser or in Node, with onnxruntime alone.
 *
 *   import { Solver } from "./trm.js";
 *   const solver = await Solver.load("model.onnx");          // or model.json, or the file's bytes
 *   const solution = await solver.solve("53..7....6..195...");
 *   for await (const step of solver.refine("53..7....6..195...")) console.log(step.text);
 *
 * The model is a `step` graph of `trm-export`: tokens, y and z in; next_y, next_z, logits and
 * halt_logit out. States are relative to the model's own start, so a puzzle starts from zeros.
 */

/** A puzzle can't be read, has the wrong size, or contradicts itself. */
export class PuzzleError extends Error {
  name = "PuzzleError";
}

/** A model, or onnxruntime itself, can't be loaded. */
export class ModelError extends Error {
  name = "ModelError";
}

/** What a spec leaves out: the defaults of `trm_sdk.ModelConfig` and `trm_sdk.SolveOptions`. */
const MODEL_DEFAULTS = { output_offset: 0, givens_from: null };
const SOLVE_DEFAULTS = {
  max_steps: 16,
  attempts: 1,
  explore: "none",
  noise: 0.1,
  halt_threshold: 1,
  seed: 0,
};

/** A model above this many bytes is worth a graphics card's overhead for every operator. */
const LARGE_MODEL = 4_000_000;

const RULED_LINES = /[|+\-=/\u2500-\u257f]/g;
const BLANKS = "0._*?";

/** One puzzle kind: its board, how it is written, and its rules where they are known here. */
export class Domain {
  /** @param {{domain: string, vocabulary: string[], grid_shape: number[]}} spec */
  constructor(spec) {
    this.name = spec.domain;
    [this.rows, this.columns] = spec.grid_shape;
    this.cells = this.rows * this.columns;
    // Token 0 is padding and token 1 an empty cell: value v is token v + 1.
    this.values = spec.vocabulary.length - 2;
    /** Groups that must hold each value once; null where this module knows no rules. */
    this.groups = this.name.startsWith("sudoku") ? sudokuGroups(this.rows) : null;
  }

  /** The value 1.. of a character, 0 for a blank, -1 for anything else. */
  valueOf(character) {
    if (BLANKS.includes(character)) return 0;
    const value = /^[0-9A-Z]$/i.test(character) ? parseInt(character, 36) : -1;
    return value <= this.values ? value : -1;
  }

  /** The character of a value; "." for an empty cell. */
  symbol(value) {
    return value ? value.toString(36).toUpperCase() : ".";
  }

  /** Values as one line of characters. */
  format(values) {
    return Array.from(values, (value) => this.symbol(value)).join("");
  }

  /**
   * Read a puzzle: one character a cell on one line or many, with drawn rules or not, or an array
   * of values. Throws a PuzzleError that names what was wrong, also where givens contradict.
   *
   * @param {string | ArrayLike<number>} puzzle
   * @returns {Int32Array}
   */
  parse(puzzle) {
    const values =
      typeof puzzle === "string" ? this.#fromText(puzzle) : Int32Array.from(puzzle?.flat?.() ?? puzzle);
    if (values.length !== this.cells) {
      throw new PuzzleError(
        `${this.name} takes ${this.rows}x${this.columns} = ${this.cells} cells; got ${values.length}`,
      );
    }
    values.forEach((value, cell) => {
      if (value < 0 || value > this.values) {
        throw new PuzzleError(
          `${this.name} takes values 0 (empty) to ${this.values}; got ${value} in ` +
            `row ${Math.floor(cell / this.columns) + 1}, column ${(cell % this.columns) + 1}`,
        );
      }
    });
    const [first] = this.conflicts(values);
    if (first) {
      throw new PuzzleError(
        `contradicting givens: ${this.symbol(first.value)} stands ${first.cells.length} times in ` +
          `${first.kind} ${first.number}`,
      );
    }
    return values;
  }

  #fromText(text) {
    const lines = text.split(/\r?\n/).filter((line) => !line.trimStart().startsWith("#"));
    const characters = [...lines.join("").replace(RULED_LINES, "").replace(/[\s,;]/g, "")];
    return Int32Array.from(characters, (character, place) => {
      const value = this.valueOf(character);
      if (value < 0) {
        throw new PuzzleError(
          `${JSON.stringify(character)} in place ${place + 1} is no cell: ` +
            `1 to ${this.symbol(this.values)} are values, any of ${[...BLANKS].join(" ")} is empty`,
        );
      }
      return value;
    });
  }

  /** Values that stand more than once in a group, in the order rows, columns, boxes. */
  conflicts(values) {
    const found = [];
    for (const { kind, number, cells } of this.groups ?? []) {
      const places = new Map();
      for (const cell of cells) {
        const value = values[cell];
        if (value) places.set(value, [...(places.get(value) ?? []), cell]);
      }
      for (const [value, members] of places) {
        if (members.length > 1) found.push({ kind, number, value, cells: members });
      }
    }
    return found;
  }

  /** Does the answer obey the rules and keep the givens? null: there are no rules to check by. */
  verify(puzzle, answer) {
    if (!this.groups) return null;
    if (answer.some((value, cell) => !value || (puzzle[cell] && puzzle[cell] !== value))) return false;
    return !this.conflicts(answer).length;
  }
}

/** Rows, columns and boxes of a Sudoku board; boxes are as square as they can be, and lie flat. */
function sudokuGroups(size) {
  let high = Math.floor(Math.sqrt(size));
  while (size % high) high -= 1;
  const wide = size / high;
  const groups = [];
  for (const [kind, cellOf] of [
    ["row", (group, place) => [group, place]],
    ["column", (group, place) => [place, group]],
    [
      "box", // `high` boxes stand beside each other
      (group, place) => [
        Math.floor(group / high) * high + Math.floor(place / wide),
        (group % high) * wide + (place % wide),
      ],
    ],
  ]) {
    for (let group = 0; group < size; group += 1) {
      const cells = Array.from({ length: size }, (_, place) => {
        const [row, column] = cellOf(group, place);
        return row * size + column;
      });
      groups.push({ kind, number: group + 1, cells });
    }
  }
  return groups;
}

/**
 * One refinement of one puzzle.
 *
 * @typedef {object} Step
 * @property {number} attempt from 1; later attempts fill in a guess, or add noise to the latent state
 * @property {{cell: number, value: number} | null} guess what this attempt fills in
 * @property {number} index supervision step of this attempt, from 1
 * @property {number} total steps taken so far, over all attempts
 * @property {Int32Array} values the answer after this step
 * @property {string} text the same as one line
 * @property {Float32Array} probabilities softmax, `cells * domain.values` numbers; 1 for a given
 * @property {number} confidence probability that the halting head gives this answer of being right
 * @property {boolean | null} verified by the rules; null where there are none
 * @property {number} seconds spent inside the model on this step
 */

/** Solves the puzzles of one domain with one model. */
export class Solver {
  #ort;
  #session;
  #shape;
  #model;
  #turn = Promise.resolve();

  /** Use `Solver.load`. */
  constructor(ort, session, spec, backend) {
    this.#ort = ort;
    this.#session = session;
    this.#model = { ...MODEL_DEFAULTS, ...spec.model };
    this.#shape = stateShape(session);
    this.spec = spec;
    /** "wasm", "webgpu" or "cpu" (Node). */
    this.backend = backend;
    this.domain = new Domain(spec);
    /** The model's own options; those given to a call go over them one by one. */
    this.options = camelCase({ ...SOLVE_DEFAULTS, ...spec.solve });
  }

  /**
   * Load a model.
   *
   * @param {string | URL | Uint8Array} source a `.onnx` step graph, the `model.json` that
   *   `trm-export web` writes beside one, or a graph's bytes
   * @param {object} [options]
   * @param {"auto" | "wasm" | "webgpu"} [options.backend] in a browser; auto: WebGPU for a large
   *   model where there is such a thing, WebAssembly otherwise
   * @param {number} [options.threads] of WebAssembly (needs a cross-origin isolated page) or the CPU
   * @param {object} [options.ort] an onnxruntime module, if not the one found by name
   */
  static async load(source, { backend = "auto", threads, ort } = {}) {
    const { bytes, spec } = await readModel(source);
    const chosen = await chooseBackend(backend, bytes.length);
    ort ??= await importRuntime(chosen);
    if (threads !== undefined && ort.env?.wasm) ort.env.wasm.numThreads = threads;
    const options = { executionProviders: [chosen], logSeverityLevel: 3 };
    if (chosen === "cpu" && threads !== undefined) options.intraOpNumThreads = threads;
    let session;
    try {
      session = await ort.InferenceSession.create(bytes, options);
    } catch (error) {
      throw new ModelError(`${nameOf(source)} can't be run by onnxruntime: ${firstLine(error)}`);
    }
    return new Solver(ort, session, spec, chosen);
  }

  /** Read and check a puzzle; see `Domain.parse`. */
  parse(puzzle) {
    return this.domain.parse(puzzle);
  }

  /**
   * Every step of thinking about one puzzle. Ends after the step whose answer the rules confirm, at
   * which the halting head crosses its threshold (where there are no rules), or after `maxSteps` of
   * the last attempt. A puzzle that can't be taken on is refused at once, not at the first step.
   *
   * @param {string | ArrayLike<number>} puzzle
   * @param {{maxSteps?: number, attempts?: number, explore?: "guess" | "noise", noise?: number,
   *   haltThreshold?: number, seed?: number, signal?: AbortSignal}} [options] fields left out are
   *   the model's own; `explore` says how later attempts differ from the first
   * @returns {AsyncGenerator<Step>}
   */
  refine(puzzle, options = {}) {
    return this.#steps(this.parse(puzzle), { ...this.options, ...options });
  }

  async *#steps(puzzle, { maxSteps, attempts, explore, noise, haltThreshold, seed, signal }) {
    const { domain } = this;
    const random = uniform(seed);
    const normal = gaussian(random);
    const guessing = explore === "guess" && this.#model.givens_from !== null;
    const size = this.#shape.reduce((product, length) => product * length, 1);
    let guesses = []; // in the order in which they are tried
    let beliefs;
    let total = 0;
    for (let attempt = 1; attempt <= attempts; attempt += 1) {
      if (guessing && attempt === 2) guesses = this.#guesses(puzzle, beliefs, random);
      const guess = guesses.length && attempt > 1 ? guesses[(attempt - 2) % guesses.length] : null;
      const tokens = puzzle.map((value, cell) => 1 + (cell === guess?.cell ? guess.value : value));
      let y = new Float32Array(size);
      let z = new Float32Array(size);
      for (let index = 1; index <= maxSteps; index += 1) {
        signal?.throwIfAborted();
        if (attempt > 1 && !guessing) for (let i = 0; i < size; i += 1) z[i] += noise * normal();
        const begun = performance.now();
        const results = await this.#run(tokens, y, z);
        const seconds = (performance.now() - begun) / 1000;
        y = results.next_y.data;
        z = results.next_z.data;
        total += 1;
        const { values, probabilities } = this.#readOut(tokens, results.logits.data);
        const confidence = 1 / (1 + Math.exp(-results.halt_logit.data[0]));
        if (attempt === 1) beliefs = probabilities;
        const verified = domain.verify(puzzle, values); // by the puzzle, whatever was guessed
        const text = domain.format(values);
        yield { attempt, guess, index, total, values, text, probabilities, confidence, verified, seconds };
        if (verified ?? confidence > haltThreshold) return;
      }
    }
  }

  /**
   * What later attempts fill in, drawn without replacement: the less sure the model was of a cell,
   * and the likelier it held the value there, the sooner. As `trm_sdk` does, with other random
   * numbers.
   */
  #guesses(puzzle, probabilities, random) {
    const { values: count } = this.domain;
    const found = [];
    puzzle.forEach((given, cell) => {
      if (given) return;
      const row = probabilities.subarray(cell * count, (cell + 1) * count);
      const entropy = -row.reduce((sum, p) => sum + (p && p * Math.log(p)), 0);
      row.forEach((p, i) => {
        // Log-weights plus Gumbel noise: the largest are a draw without replacement.
        const gumbel = -Math.log(-Math.log(random() || Number.MIN_VALUE));
        const key = 2 * Math.log(entropy + 1e-9) + Math.log(p + 1e-30) + gumbel;
        found.push({ cell, value: i + 1, key });
      });
    });
    return found.sort((a, b) => b.key - a.key).map(({ cell, value }) => ({ cell, value }));
  }

  /**
   * Solve one puzzle.
   *
   * @param {string | ArrayLike<number>} puzzle
   * @param {object} [options] as in `refine`
   * @returns {Promise<{values: Int32Array, text: string, verified: boolean | null,
   *   confidence: number, steps: number, attempts: number, seconds: number}>} also where no answer
   *   was confirmed: look at `verified`
   */
  async solve(puzzle, options = {}) {
    const begun = performance.now();
    let best; // the last step of the attempt that is right, or is held for right the most
    let last;
    const better = (step) => !best || step.verified || step.confidence > best.confidence;
    for await (const step of this.refine(puzzle, options)) {
      if (last && last.attempt !== step.attempt && better(last)) best = last;
      last = step;
    }
    if (better(last)) best = last;
    const { values, text, verified, confidence } = best;
    const seconds = (performance.now() - begun) / 1000;
    return { values, text, verified, confidence, steps: last.total, attempts: last.attempt, seconds };
  }

  /** Release the model's memory. */
  async close() {
    await this.#session.release();
  }

  /** One supervision step. Callers queue here: on WebGPU a second run beside a first one hangs. */
  #run(tokens, y, z) {
    const { Tensor } = this.#ort;
    const feeds = {
      tokens: new Tensor("int32", tokens, [1, tokens.length]),
      y: new Tensor("float32", y, [1, ...this.#shape]),
      z: new Tensor("float32", z, [1, ...this.#shape]),
    };
    const run = this.#turn.then(() => this.#session.run(feeds));
    this.#turn = run.catch(() => {});
    return run;
  }

  #readOut(tokens, logits) {
    const { cells, values: count } = this.domain;
    const { output_offset: offset, givens_from: givensFrom } = this.#model;
    const columns = logits.length / cells; // column k stands for token k + offset
    const values = new Int32Array(cells);
    const probabilities = new Float32Array(cells * count);
    for (let cell = 0; cell < cells; cell += 1) {
      const row = probabilities.subarray(cell * count, (cell + 1) * count);
      if (givensFrom !== null && tokens[cell] >= givensFrom) {
        values[cell] = tokens[cell] - 1;
        row[values[cell] - 1] = 1;
        continue;
      }
      const own = logits.subarray(cell * columns, (cell + 1) * columns);
      let best = 0;
      for (let k = 1; k < columns; k += 1) if (own[k] > own[best]) best = k;
      values[cell] = Math.max(best + offset - 1, 0);
      let sum = 0;
      for (let value = 1; value <= count; value += 1) {
        row[value - 1] = Math.exp(own[value + 1 - offset] - own[best]);
        sum += row[value - 1];
      }
      for (let i = 0; i < count; i += 1) row[i] /= sum;
    }
    return { values, probabilities };
  }
}

// --- reading a model --------------------------------------------------------------------------

async function readModel(source) {
  if (source instanceof Uint8Array) return withSpec(source, "the model");
  const bytes = await readBytes(source);
  if (!nameOf(source).endsWith(".json")) return withSpec(bytes, nameOf(source));
  let description;
  try {
    description = JSON.parse(new TextDecoder().decode(bytes));
  } catch (error) {
    throw new ModelError(`${nameOf(source)} is no JSON: ${firstLine(error)}`);
  }
  if (!description.spec || !description.model) {
    throw new ModelError(`${nameOf(source)} describes no model: it lacks "spec" or "model"`);
  }
  const graph = isUrl(source)
    ? new URL(description.model, new URL(source, globalThis.document?.baseURI))
    : String(source).replace(/[^/\\]*$/, description.model);
  return { bytes: await readBytes(graph), spec: description.spec };
}

function withSpec(bytes, name) {
  const metadata = readMetadata(bytes, name);
  if (metadata.trm_mode !== "step") {
    throw new ModelError(
      metadata.trm_mode
        ? `${name} is a graph of mode "${metadata.trm_mode}"; one of mode "step" is needed`
        : `${name} was not written by trm-export: it carries no description`,
    );
  }
  return { bytes, spec: JSON.parse(metadata.trm_spec) };
}

/** Is this to be fetched? In a browser everything is; in Node what has a scheme of the web. */
function isUrl(source) {
  return !inNode() || /^https?:/.test(String(source));
}

function inNode() {
  return typeof process !== "undefined" && Boolean(process.versions?.node);
}

async function readBytes(source) {
  if (!isUrl(source)) {
    const { readFile } = await import("node:fs/promises");
    try {
      return new Uint8Array(await readFile(source));
    } catch (error) {
      throw new ModelError(`${source} can't be read: ${error.code ?? error.message}`);
    }
  }
  let response;
  try {
    response = await fetch(source);
  } catch (error) {
    throw new ModelError(`${nameOf(source)} can't be fetched: ${firstLine(error)}`);
  }
  if (!response.ok) throw new ModelError(`${nameOf(source)} can't be fetched: HTTP ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

/**
 * The metadata of an ONNX file. onnxruntime's JavaScript API has no way to ask for it; in the file
 * it is field 14 of a Protocol Buffers message, pairs of a key (field 1) and a value (field 2).
 */
function readMetadata(bytes, name) {
  const text = new TextDecoder();
  const metadata = {};
  try {
    for (const [field, content] of fields(bytes)) {
      if (field !== 14) continue;
      const pair = Object.fromEntries(fields(content));
      metadata[text.decode(pair[1])] = text.decode(pair[2]);
    }
  } catch (error) {
    throw new ModelError(`${name} is no ONNX file: ${firstLine(error)}`);
  }
  return metadata;
}

function* fields(bytes) {
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      if (at >= bytes.length) throw new RangeError("it ends too soon");
      const byte = bytes[at++];
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const key = varint();
    const kind = key % 8;
    if (kind === 2) {
      const length = varint();
      if (at + length > bytes.length) throw new RangeError("it ends too soon");
      yield [Math.floor(key / 8), bytes.subarray(at, at + length)];
      at += length;
    } else if (kind === 0) varint();
    else if (kind === 1) at += 8;
    else if (kind === 5) at += 4;
    else throw new RangeError(`unknown wire type ${kind}`);
  }
}

async function chooseBackend(backend, size) {
  if (inNode()) return "cpu";
  const there = async () => Boolean(await globalThis.navigator.gpu?.requestAdapter());
  if (backend === "webgpu" && !(await there())) {
    throw new ModelError("WebGPU is not to be had in this browser; WebAssembly is");
  }
  if (backend !== "auto") return backend;
  return size > LARGE_MODEL && (await there()) ? "webgpu" : "wasm";
}

async function importRuntime(backend) {
  try {
    if (backend === "cpu") return await import("onnxruntime-node");
    if (backend === "webgpu") return await import("onnxruntime-web/webgpu");
    return await import("onnxruntime-web");
  } catch (error) {
    throw new ModelError(
      `onnxruntime-${backend === "cpu" ? "node" : "web"} can't be loaded (npm install puts it ` +
        `there): ${firstLine(error)}`,
    );
  }
}

function stateShape(session) {
  const input = session.inputMetadata.find(({ name }) => name === "y");
  const shape = input?.shape?.slice(1);
  if (!shape?.length || shape.some((length) => typeof length !== "number")) {
    throw new ModelError(`the graph takes ${session.inputNames.join(", ")}; a step graph takes y`);
  }
  return shape;
}

// --- small things -----------------------------------------------------------------------------

/** Numbers from 0 to below 1: a seeded 32-bit generator (mulberry32). */
function uniform(seed) {
  let state = (seed ^ 0x9e3779b9) >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t ^= t + Math.imul(t ^ (t >>> 7), 61 | t);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Standard-normal numbers from uniform ones (Box and Muller). */
function gaussian(uniform) {
  let spare = null;
  return () => {
    if (spare !== null) {
      const value = spare;
      spare = null;
      return value;
    }
    const radius = Math.sqrt(-2 * Math.log(1 - uniform()));
    const angle = 2 * Math.PI * uniform();
    spare = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  };
}

function camelCase(fields) {
  const rename = (name) => name.replace(/_(.)/g, (_, letter) => letter.toUpperCase());
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [rename(name), value]));
}

function nameOf(source) {
  return source instanceof Uint8Array ? "the model" : String(source);
}

function firstLine(error) {
  return String(error?.message ?? error).split("\n")[0];
}
