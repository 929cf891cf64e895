// Answers questions about trm.js as JSON, for test_node.py: node trm.mjs QUESTION ARGUMENTS...
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

import { Deduction } from "../../export/web_assets/deduction.js";
import { Domain, Solver } from "../../export/web_assets/trm.js";

const require = createRequire(new URL("../../examples/package.json", import.meta.url));
const [question, ...given] = process.argv.slice(2);

const questions = {
  // The steps of thinking about a puzzle.
  async steps(model, puzzle, options = "{}") {
    const solver = await Solver.load(model, { ort: require("onnxruntime-node"), threads: 1 });
    const steps = [];
    for await (const step of solver.refine(puzzle, JSON.parse(options))) {
      const heads = Object.fromEntries(Object.entries(step.heads).map(([name, data]) => [name, [...data]]));
      const values = [...step.values];
      steps.push({ ...step, values, probabilities: [...step.probabilities], heads, seconds: 0 });
    }
    return { steps, options: solver.options, backend: solver.backend };
  },
  // Many solves of one solver at the same time.
  async together(model, ...puzzles) {
    const solver = await Solver.load(model, { ort: require("onnxruntime-node"), threads: 1 });
    return Promise.all(puzzles.map(async (puzzle) => (await solver.solve(puzzle)).text));
  },
  // A solve that is called off after its second step.
  async abort(model, puzzle) {
    const solver = await Solver.load(model, { ort: require("onnxruntime-node"), threads: 1 });
    const controller = new AbortController();
    let steps = 0;
    try {
      for await (const _ of solver.refine(puzzle, { signal: controller.signal })) {
        steps += 1;
        if (steps === 2) controller.abort();
      }
    } catch (error) {
      return { steps, error: error.name };
    }
    return { steps, error: null };
  },
  async load(model) {
    return failure(() => Solver.load(model, { ort: require("onnxruntime-node") }));
  },
  async groups(description) {
    return new Domain(JSON.parse(description)).groups.map(({ cells }) => cells);
  },
  // Many questions in one call: a file of JSON, {description, rules?, puzzles?, puzzle?, answers?}.
  async domain(file) {
    const { description, rules, puzzles = [], puzzle, answers = [] } = JSON.parse(readFileSync(file, "utf-8"));
    const domain = new Domain(description, { rules: rules ? await import(pathToFileURL(rules).href) : null });
    const parsed = puzzles.map((one) => attempt(() => {
      const values = domain.parse(restored(one));
      const { rows, columns, groups } = values;
      return { values: [...values], rows, columns, groups, text: domain.on(values).write(values) };
    }));
    const verdicts = answers.map((answer) => {
      const given = domain.parse(puzzle);
      return domain.on(given).verify(given, restored(answer));
    });
    return { parsed, verdicts };
  },
  // Solutions of boards whose cells are masks as text: a file of JSON, {values, groups, boards, limits}.
  async counts(file) {
    const { values, groups, boards, limits } = JSON.parse(readFileSync(file, "utf-8"));
    const deduction = new Deduction(boards[0].length, values, groups);
    return boards.map((board) => limits.map((limit) => deduction.count(board.map(BigInt), limit)));
  },
  // Further answers that a domain's module reads from heads: a file of JSON, {description, rules, cases}.
  async alternatives(file) {
    const { description, rules, cases } = JSON.parse(readFileSync(file, "utf-8"));
    const module = await import(pathToFileURL(rules).href);
    const usual = new Domain(description, { rules: module });
    return cases.map(({ puzzle, heads }) => {
      const values = usual.parse(puzzle);
      const domain = usual.resized(values.rows, values.columns);
      const arrays = Object.fromEntries(
        Object.entries(heads).map(([name, data]) => [name, Float32Array.from(data)]),
      );
      const found = module.alternatives(values, arrays, domain).map((one) => [...one]);
      const right = domain.alternative(values, arrays);
      return { found, right: right && [...right] };
    });
  },
  // The steps of a model whose graph is not run: every step gives the next of these results.
  async scripted(model, rules, puzzle, file) {
    const results = JSON.parse(readFileSync(file, "utf-8"));
    const tensors = (result) =>
      Object.fromEntries(Object.entries(result).map(([name, data]) => [name, { data: Float32Array.from(data) }]));
    const ort = {
      Tensor: class {},
      InferenceSession: {
        async create() {
          const shapes = { tokens: ["batch", "rows", "columns"], y: ["batch", "rows", "columns", 1, 1] };
          const inputMetadata = Object.entries(shapes).map(([name, shape]) => ({ name, shape }));
          return { inputMetadata, inputNames: ["tokens", "y", "z"], run: async () => tensors(results.shift()) };
        },
      },
    };
    const solver = await Solver.load(model, { ort, rules: rules === "none" ? {} : await import(pathToFileURL(rules).href) });
    const steps = [];
    for await (const step of solver.refine(puzzle, { attempts: 1, maxSteps: results.length })) {
      steps.push({ values: [...step.values], verified: step.verified, text: step.text });
    }
    return steps;
  },
  // Rules of one's own, over the model's.
  async rules(model, puzzle) {
    const rules = {
      verify: (given, answer, domain) => answer.length === domain.cells && given.length === answer.length,
      decode: (values, { puzzle: given, domain }) =>
        values.map((value, cell) => (domain.isGiven(given[cell]) ? value : domain.answers[0])),
    };
    const solver = await Solver.load(model, { ort: require("onnxruntime-node"), threads: 1, rules });
    const { text, verified, steps } = await solver.solve(puzzle);
    return { text, verified, steps };
  },
  // A graph whose logits are of another length than its spec says.
  async logits(model, puzzle) {
    const ort = require("onnxruntime-node");
    const solver = await Solver.load(model, {
      ort: {
        Tensor: ort.Tensor,
        InferenceSession: {
          async create(...given) {
            const session = await ort.InferenceSession.create(...given);
            const { inputMetadata, inputNames, outputNames } = session;
            return {
              inputMetadata,
              inputNames,
              outputNames,
              async run(feeds) {
                const results = await session.run(feeds);
                const { data } = results.logits;
                return { ...results, logits: { data: data.subarray(0, data.length - 1) } };
              },
            };
          },
        },
      },
    });
    return failure(() => solver.solve(puzzle));
  },
};

/** JSON knows no NaN and no infinity: a text in an array stands for one. */
function restored(value) {
  if (!Array.isArray(value)) return value;
  return value.map((one) => (one === "NaN" ? NaN : one === "Infinity" ? Infinity : restored(one)));
}

function attempt(action) {
  try {
    return action();
  } catch (error) {
    return { error: error.name, message: error.message };
  }
}

async function failure(action) {
  try {
    return { result: await action() };
  } catch (error) {
    return { error: error.name, message: error.message };
  }
}

console.log(JSON.stringify(await questions[question](...given)));
