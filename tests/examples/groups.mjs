// Groups of cells as trm.js gives them to a graph, for test_node_groups.py: node groups.mjs.
import { groupTensors, inputShapes } from "../../export/web_assets/loading.js";

class Tensor {
  constructor(type, data, dims) {
    Object.assign(this, { type, data: [...data], dims });
  }
}
const shape = (name, ...dims) => ({ name, shape: ["batch", ...dims] });
const session = {
  inputNames: ["tokens", "y", "z", "groups.line", "groups.box"],
  inputMetadata: [shape("tokens", 4), shape("y", 4, 2, 8), shape("z", 4, 2, 8)],
};
const { groups } = inputShapes(session);
const own = { line: [[0, 1], [2, 3]], box: [[0, 2]] };
const failure = (given, keys = groups) => {
  try {
    groupTensors({ Tensor }, keys, own, given, 4);
  } catch (error) {
    return error.message;
  }
  return null;
};
const made = groupTensors({ Tensor }, groups, own, { box: [[1], [2, 3]] }, 4);
const wrong = failure({ box: [[4]] });
const unknown = failure({ cage: [[0]] });
const none = failure({ box: [[0]] }, []);
console.log(JSON.stringify({ groups, made, wrong, unknown, none }));
