// Answers inputs of exported tasks as JSON, for test_task_page.py: node task.mjs QUESTIONS(file)
// A question is {module, model, inputs}: a task.js, a graph, and grids.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(new URL("../../examples/package.json", import.meta.url));
const ort = require("onnxruntime-node");

const answers = [];
for (const { module, model, inputs } of JSON.parse(readFileSync(process.argv[2], "utf-8"))) {
  const { AdaptedTask } = await import(pathToFileURL(module).href);
  const found = [];
  try {
    const task = await AdaptedTask.load(model, { ort });
    for (const input of inputs) {
      try {
        const steps = [];
        for await (const { grid, certainty } of task.refine(input)) steps.push({ grid, certainty });
        found.push(steps);
      } catch (error) {
        found.push(`${error.name}: ${error.message}`);
      }
    }
  } catch (error) {
    found.push(`${error.name}: ${error.message}`);
  }
  answers.push(found);
}
console.log(JSON.stringify(answers));
