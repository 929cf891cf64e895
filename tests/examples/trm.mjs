// Answers questions about trm.js as JSON, for test_node.py: node trm.mjs QUESTION ARGUMENTS...
import { createRequire } from "node:module";

import { Domain, Solver } from "../../export/web_assets/trm.js";

const require = createRequire(new URL("../../examples/package.json", import.meta.url));
const [question, ...given] = process.argv.slice(2);

const questions = {
  // The steps of thinking about a puzzle.
  async steps(model, puzzle, options = "{}") {
    const solver = await Solver.load(model, { ort: require("onnxruntime-node"), threads: 1 });
    const steps = [];
    for await (const step of solver.refine(puzzle, JSON.parse(options))) {
      steps.push({ ...step, values: [...step.values], probabilities: [...step.probabilities], seconds: 0 });
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
  async groups(spec) {
    return new Domain(JSON.parse(spec)).groups.map(({ cells }) => cells);
  },
  async parse(spec, puzzle) {
    const domain = new Domain(JSON.parse(spec));
    return failure(async () => Array.from(domain.parse(puzzle)));
  },
  async verify(spec, puzzle, ...answers) {
    const domain = new Domain(JSON.parse(spec));
    return answers.map((answer) =>
      domain.verify(domain.parse(puzzle), Int32Array.from(answer, (cell) => domain.valueOf(cell))),
    );
  },
};

async function failure(action) {
  try {
    return { result: await action() };
  } catch (error) {
    return { error: error.name, message: error.message };
  }
}

console.log(JSON.stringify(await questions[question](...given)));
