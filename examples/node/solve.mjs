#!/usr/bin/env node
// Solve puzzles in Node: node solve.mjs MODEL.onnx PUZZLE...
// MODEL.onnx is a `step` graph: any bundled model.onnx, or what `trm-export onnx` writes.
import * as ort from "onnxruntime-node";
import { Solver } from "../../export/web_assets/trm.js";

const [model, ...puzzles] = process.argv.slice(2);
if (!model || !puzzles.length) {
  console.error("usage: node solve.mjs MODEL.onnx PUZZLE...");
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
