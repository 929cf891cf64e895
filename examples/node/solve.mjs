#!/usr/bin/env node
// Solve puzzles in Node: node solve.mjs MODEL PUZZLE...
// MODEL is a `step` graph: any bundled model.onnx, or what `trm-export onnx` writes; or the model.json of
// `trm-export web`, which brings along rules of a domain, as mazes have them. A puzzle is text: 81 cells
// of a Sudoku, the lines of a maze of any size (# wall, space or . free, S, G).
import * as ort from "onnxruntime-node";
import { Solver } from "../../export/web_assets/trm.js";

const [model, ...puzzles] = process.argv.slice(2);
if (!model || !puzzles.length) {
  console.error("usage: node solve.mjs MODEL PUZZLE...");
  process.exit(2);
}
try {
  const solver = await Solver.load(model, { ort, threads: 1 });
  for (const puzzle of puzzles) {
    const { text, verified, steps, attempts, seconds } = await solver.solve(puzzle);
    console.log(JSON.stringify({ puzzle, answer: text, verified, steps, attempts, seconds }));
    if (verified === false) process.exitCode = 1;
  }
} catch (error) {
  if (!["PuzzleError", "ModelError"].includes(error.name)) throw error;
  console.error(`Error: ${error.message}`);
  process.exitCode = 2;
}
