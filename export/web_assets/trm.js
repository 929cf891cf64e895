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

import {
  ModelError,
  answerTokens,
  chooseBackend,
  firstLine,
  givenTokens,
  groupTensors,
  importRuntime,
  inputShapes,
  nameOf,
  readModel,
} from "./loading.js";
import { Domain, PuzzleError } from "./puzzle.js";
import { Tree } from "./tree.js";

export { Domain, ModelError, PuzzleError };

/** Attempts of a wave where guesses follow on guesses, as in `trm_sdk`. */
const WIDTH = 8;

/** States of failed attempts that are kept for those that go on from them, as in `trm_sdk`. */
const KEPT = 16;

/** What a spec leaves out: the defaults of `trm_sdk.SolveOptions`. */
const SOLVE_DEFAULTS = {
  max_steps: 16,
  later_steps: null,
  steps_per_cell: 0,
  attempts: 1,
  explore: "none",
  warm_start: true,
  noise: 0.1,
  halt_threshold: 1,
  seed: 0,
};

/**
 * One refinement of one puzzle.
 *
 * @typedef {object} Step
 * @property {number} attempt from 1; later attempts fill in guesses, or add noise to the latent state
 * @property {{cell: number, value: number} | null} guess what this attempt fills in, the last of it
 * @property {{cell: number, value: number}[]} guesses all that it fills in
 * @property {number} index supervision step of this attempt, from 1
 * @property {number} total steps taken so far, over all attempts
 * @property {Int32Array} values the answer after this step; in a last one perhaps an alternative of the
 *   domain's (see `Rules` in puzzle.js), which is not the most probable one
 * @property {string} text the same as text
 * @property {Float32Array} probabilities softmax, `cells * domain.answers.length` numbers: column k
 *   is the value `domain.answers[k]`; 1 for a given
 * @property {Record<string, Float32Array>} heads logits of the graph's further heads, cell by cell
 * @property {number} confidence probability that the halting head gives this answer of being right
 * @property {boolean | null} verified by the rules; null where there are none
 * @property {boolean} refuted whether the puzzle has no solution, proven by the rules: then this step is
 *   the last
 * @property {number} seconds spent inside the model on this step
 */

/** Solves the puzzles of one domain with one model. */
export class Solver {
  #ort;
  #session;
  #shapes;
  #answerTokens;
  #givenTokens;
  #groups;
  #turn = Promise.resolve();

  /** Use `Solver.load`. */
  constructor(ort, session, { spec, groups = {}, description, rules }, backend) {
    this.#groups = groups;
    this.#ort = ort;
    this.#session = session;
    this.#shapes = inputShapes(session);
    this.#answerTokens = answerTokens(spec);
    this.#givenTokens = new Set(givenTokens(spec));
    this.spec = spec;
    /** "wasm", "webgpu" or "cpu" (Node). */
    this.backend = backend;
    this.domain = new Domain(description, { rules });
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
   *   model where the browser has it, WebAssembly otherwise
   * @param {number} [options.threads] of WebAssembly (needs a cross-origin isolated page) or the CPU;
   *   one where `model.json` has hashes of onnxruntime-web
   * @param {object} [options.ort] an onnxruntime module, if not the one found by name
   * @param {import("./puzzle.js").Rules} [options.rules] of the domain, where they are more than
   *   that values differ; over those that `model.json` names
   */
  static async load(source, { backend = "auto", threads, ort, rules } = {}) {
    const model = await readModel(source);
    const chosen = await chooseBackend(backend, model.bytes.length);
    const pinned = ort === undefined && model.integrity !== undefined;
    ort ??= await importRuntime(chosen, model.integrity);
    if (threads !== undefined && ort.env?.wasm && !pinned) ort.env.wasm.numThreads = threads;
    const options = { executionProviders: [chosen], logSeverityLevel: 3 };
    if (chosen === "cpu" && threads !== undefined) options.intraOpNumThreads = threads;
    let session;
    try {
      session = await ort.InferenceSession.create(model.bytes, options);
    } catch (error) {
      throw new ModelError(`${nameOf(source)} can't be run by onnxruntime: ${firstLine(error)}`);
    }
    return new Solver(ort, session, { ...model, rules: rules ?? model.rules }, chosen);
  }

  /** Read and check a puzzle; see `Domain.parse`. */
  parse(puzzle) {
    return this.domain.parse(puzzle);
  }

  /**
   * Every step of thinking about one puzzle. Ends after the step whose answer the rules confirm, at
   * which the halting head crosses its threshold (where there are no rules), or after `maxSteps` of
   * the last attempt (`laterSteps` of all but the first); of the first, where the rules then prove that there is no solution. A puzzle that
   * can't be taken on is refused at once, not at the first step.
   *
   * @param {string | ArrayLike<number> | ArrayLike<number>[]} puzzle
   * @param {{maxSteps?: number, laterSteps?: number, attempts?: number, explore?: "tree" | "guess" | "noise",
   *   warmStart?: boolean, noise?: number, haltThreshold?: number, seed?: number, identifier?: number,
   *   groups?: Record<string, number[][]>, signal?: AbortSignal}} [options]
   *   fields left out are the model's own; `explore` says how later attempts differ from the first,
   *   `identifier` is the puzzle's row of the model's puzzle embedding (default 0), `groups` are
   *   the cells of its own groups by weights key, such as a jigsaw's regions as `{box: [...]}`, for
   *   graphs that take such. The rules are not told of them, but of those that the domain reads with
   *   a puzzle (`Rules.ownGroups`), which need not be given here
   * @returns {AsyncGenerator<Step>}
   */
  refine(puzzle, options = {}) {
    const values = this.parse(puzzle);
    const domain = this.domain.on(values);
    const { maxSteps, stepsPerCell } = this.options;
    // On a large board news has further to travel; who says how many steps means it.
    const most = Math.max(maxSteps, Math.ceil(stepsPerCell * values.length));
    const own = { ...this.options, maxSteps: most };
    if (options.maxSteps !== undefined) own.laterSteps = null;
    return this.#steps(domain, values, { identifier: 0, ...own, ...options });
  }

  async *#steps(domain, puzzle, options) {
    const { maxSteps, attempts, explore, warmStart, noise, haltThreshold } = options;
    const { seed, signal, identifier } = options;
    const random = uniform(seed);
    const normal = gaussian(random);
    const filling = explore === "guess" || explore === "tree";
    const guessing = filling && this.#givenTokens.size > 0;
    const tree = guessing && explore === "tree" && attempts > 1 ? new Tree(domain, puzzle) : null;
    if (tree && !this.#session.outputNames.includes("dead_end")) {
      throw new ModelError("explore 'tree' needs a graph with the output dead_end; 'guess' does without");
    }
    const shapes = this.#shapesOn(domain);
    const { rows, columns } = domain;
    const own = options.groups ?? domain.ownGroups;
    shapes.groups = groupTensors(this.#ort, this.#shapes.groups, this.#groups, own, rows * columns);
    const size = shapes.state.reduce((product, length) => product * length, 1);
    let guesses = []; // in the order in which they are tried
    let wave = []; // attempts of the tree that have yet to begin
    const states = new Map(); // of the tree: `{ y, z }` in which attempts have failed, by their numbers
    let beliefs;
    let total = 0;
    for (let attempt = 1; attempt <= attempts; attempt += 1) {
      if (tree && attempt > 1 && !wave.length) {
        wave = tree.nextWave(Math.min(options.width ?? WIDTH, attempts - attempt + 1));
        if (!wave.length) return; // every guess has been made
        for (const old of [...states.keys()].slice(0, -KEPT)) states.delete(old);
      }
      const number = tree && attempt > 1 ? wave.shift() : 0;
      if (guessing && !tree && attempt === 2) guesses = guessesFor(domain, puzzle, beliefs, random);
      const single = guesses.length && attempt > 1 ? [guesses[(attempt - 2) % guesses.length]] : [];
      const made = tree ? tree.path(number) : single;
      const filled = puzzle.slice();
      for (const { cell, value } of made) filled[cell] = value;
      const tokens = filled.map((value) => domain.tokenOf(value));
      const parent = tree && attempt > 1 ? states.get(tree.parent(number)) : undefined;
      let y = parent?.y ?? new Float32Array(size);
      let z = parent?.z ?? new Float32Array(size);
      const most = attempt === 1 ? maxSteps : options.laterSteps ?? maxSteps;
      for (let index = 1; index <= most; index += 1) {
        signal?.throwIfAborted();
        if (attempt > 1 && !guessing) for (let i = 0; i < size; i += 1) z[i] += noise * normal();
        const begun = performance.now();
        const { next_y: nextY, next_z: nextZ, logits, halt_logit: halt, ...others } = await this.#run(
          tokens,
          y,
          z,
          shapes,
          identifier,
        );
        const seconds = (performance.now() - begun) / 1000;
        y = nextY.data;
        z = nextZ.data;
        total += 1;
        const read = this.#readOut(domain, tokens, logits.data);
        const heads = Object.fromEntries(Object.entries(others).map(([name, { data }]) => [name, data]));
        let values = domain.decode(read.values, { puzzle, heads });
        const { probabilities } = read;
        const confidence = 1 / (1 + Math.exp(-halt.data[0]));
        if (attempt === 1) beliefs = probabilities;
        let verified = domain.verify(puzzle, values); // by the puzzle, whatever was guessed
        const other = verified === false ? domain.alternative(puzzle, heads) : null;
        if (other) [values, verified] = [other, true];
        const text = domain.format(values);
        const told = { guess: made.at(-1) ?? null, guesses: made };
        const step = { attempt, ...told, index, total, values, text, probabilities, heads };
        // As in Python, the rules are asked once: most puzzles are solved without.
        const failed = attempt === 1 && index === most && verified === false;
        const refuted = failed && domain.isRefuted(puzzle);
        yield { ...step, confidence, verified, refuted, seconds };
        if (refuted || (verified ?? confidence > haltThreshold)) return;
        if (tree && index === most) {
          tree.grow(number, probabilities, heads.dead_end[0]);
          if (warmStart) states.set(number, { y, z });
        }
      }
    }
  }

  /** Shapes of tokens and state, without the batch, on a board. */
  #shapesOn({ rows, columns }) {
    const sized = (shape) => shape.map((length) => ({ rows, columns })[length] ?? length);
    const shapes = { tokens: sized(this.#shapes.tokens), state: sized(this.#shapes.state) };
    const cells = shapes.tokens.reduce((product, length) => product * length, 1);
    if (cells !== rows * columns) {
      throw new ModelError(`the graph takes boards of ${cells} cells; got one of ${rows}x${columns}`);
    }
    return shapes;
  }

  /**
   * Solve one puzzle.
   *
   * @param {string | ArrayLike<number> | ArrayLike<number>[]} puzzle
   * @param {object} [options] as in `refine`
   * @returns {Promise<{values: Int32Array, text: string, verified: boolean | null,
   *   refuted: boolean, confidence: number, steps: number, attempts: number, seconds: number}>} also
   *   where no answer was confirmed: look at `verified`, and at `refuted`, which says that there is none
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
    const { refuted, total: steps, attempt: attempts } = last;
    return { values, text, verified, refuted, confidence, steps, attempts, seconds };
  }

  /** Release the model's memory. */
  async close() {
    await this.#session.release();
  }

  /** One supervision step. Callers queue here: on WebGPU a second run beside a first one hangs. */
  #run(tokens, y, z, shapes, identifier) {
    const { Tensor } = this.#ort;
    const feeds = {
      tokens: new Tensor("int32", tokens, [1, ...shapes.tokens]),
      y: new Tensor("float32", y, [1, ...shapes.state]),
      z: new Tensor("float32", z, [1, ...shapes.state]),
      ...shapes.groups,
    };
    if (this.#shapes.identified) {
      feeds.puzzle_identifiers = new Tensor("int32", Int32Array.of(identifier), [1]);
    }
    const run = this.#turn.then(() => this.#session.run(feeds));
    this.#turn = run.catch(() => {});
    return run;
  }

  /** Values and their probabilities from logits: column k of them stands for `#answerTokens[k]`. */
  #readOut(domain, tokens, logits) {
    const { cells, answers } = domain;
    const columns = this.#answerTokens.length;
    if (logits.length !== cells * columns) {
      throw new ModelError(
        `the graph gives ${logits.length} logits; ${cells} cells of ${columns} tokens have ` +
          `${cells * columns}`,
      );
    }
    const places = answers.map((value) => this.#answerTokens.indexOf(domain.tokenOf(value)));
    const values = new Int32Array(cells);
    const probabilities = new Float32Array(cells * answers.length);
    for (let cell = 0; cell < cells; cell += 1) {
      const row = probabilities.subarray(cell * answers.length, (cell + 1) * answers.length);
      if (this.#givenTokens.has(tokens[cell])) {
        values[cell] = domain.valueOfToken(tokens[cell]);
        const place = answers.indexOf(values[cell]);
        if (place >= 0) row[place] = 1;
        continue;
      }
      const own = logits.subarray(cell * columns, (cell + 1) * columns);
      let best = 0;
      for (let k = 1; k < columns; k += 1) if (own[k] > own[best]) best = k;
      values[cell] = domain.valueOfToken(this.#answerTokens[best]);
      let sum = 0;
      places.forEach((place, i) => {
        row[i] = place < 0 ? 0 : Math.exp(own[place] - own[best]);
        sum += row[i];
      });
      if (sum > 0) for (let i = 0; i < row.length; i += 1) row[i] /= sum;
    }
    return { values, probabilities };
  }
}

/**
 * What later attempts fill in, drawn without replacement: the less sure the model was of a cell, and
 * the likelier it held the value there, the sooner. As `trm_sdk` does, with other random numbers.
 */
function guessesFor(domain, puzzle, probabilities, random) {
  const { answers } = domain;
  const found = [];
  puzzle.forEach((given, cell) => {
    if (domain.isGiven(given)) return;
    const row = probabilities.subarray(cell * answers.length, (cell + 1) * answers.length);
    const entropy = -row.reduce((sum, p) => sum + (p && p * Math.log(p)), 0);
    row.forEach((p, i) => {
      if (!domain.isGiven(answers[i])) return; // it can't be filled in
      // Log-weights plus Gumbel noise: the largest are a draw without replacement.
      const gumbel = -Math.log(-Math.log(random() || Number.MIN_VALUE));
      const key = 2 * Math.log(entropy + 1e-9) + Math.log(p + 1e-30) + gumbel;
      found.push({ cell, value: answers[i], key });
    });
  });
  return found.sort((a, b) => b.key - a.key).map(({ cell, value }) => ({ cell, value }));
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
