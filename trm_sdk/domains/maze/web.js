/**
 * The rules of mazes for `trm.js` and its page: an answer must mark one shortest path from start to
 * goal. As `rules.judge` has it; see `Rules` in export/web_assets/puzzle.js for the contract.
 */

/** (row, column) steps in the order of the direction head's classes; one more class means none. */
const MOVES = [
  [1, 0],
  [0, -1],
  [0, 1],
  [-1, 0],
];

/** A pointer draws walls, or free cells where it begins on a wall, and carries the two ends. */
export const drawing = { brush: ["wall", "free"], moved: ["start", "goal"] };

/** Steps from the start to the goal over cells that may be entered; -1: there is no way. */
function distance(from, goal, mayEnter, { rows, columns }) {
  const steps = new Int32Array(rows * columns).fill(-1);
  steps[from] = 0;
  const queue = [from];
  for (const cell of queue) {
    if (cell === goal) return steps[cell];
    const [row, column] = [Math.floor(cell / columns), cell % columns];
    for (const [down, right] of MOVES) {
      const [r, c] = [row + down, column + right];
      const next = r * columns + c;
      if (r < 0 || r >= rows || c < 0 || c >= columns || steps[next] >= 0) continue;
      if (next !== goal && !mayEnter(next)) continue;
      steps[next] = steps[cell] + 1;
      queue.push(next);
    }
  }
  return -1;
}

/** @type {import("../../../export/web_assets/puzzle.js").Rules["verify"]} */
export function verify(puzzle, answer, domain) {
  const value = (name) => domain.values.findIndex((one) => one.name === name);
  const [wall, free, start, goal, path] = ["wall", "free", "start", "goal", "path"].map(value);
  const kept = puzzle.every((was, cell) =>
    domain.isGiven(was) ? answer[cell] === was : answer[cell] === free || answer[cell] === path,
  );
  const [from, to] = [puzzle.indexOf(start), puzzle.indexOf(goal)];
  if (!kept || from < 0 || to < 0) return false;
  const shortest = distance(from, to, (cell) => puzzle[cell] !== wall, domain);
  const marked = distance(from, to, (cell) => answer[cell] === path, domain);
  const marks = answer.reduce((count, one) => count + (one === path), 0);
  // As many marks as a shortest path has cells, and a way over them: they are that path.
  return shortest > 0 && marked === shortest && marks === shortest - 1;
}

/**
 * The walk from the start along the direction of each cell, drawn as an answer, as `rules.walk` has it:
 * it ends where the next move is none, leads into a wall or off the board, or back to where it was.
 *
 * @type {import("../../../export/web_assets/puzzle.js").Rules["alternatives"]}
 */
export function alternatives(puzzle, { direction }, { values, rows, columns }) {
  if (!direction) return []; // a graph without this head
  const value = (name) => values.findIndex((one) => one.name === name);
  const [free, start, path] = ["free", "start", "path"].map(value);
  const classes = direction.length / puzzle.length;
  const answer = Int32Array.from(puzzle);
  let cell = answer.indexOf(start);
  for (;;) {
    const logits = direction.subarray(cell * classes, (cell + 1) * classes);
    const move = MOVES[logits.indexOf(Math.max(...logits))];
    if (!move) break;
    const [row, column] = [Math.floor(cell / columns) + move[0], (cell % columns) + move[1]];
    if (row < 0 || row >= rows || column < 0 || column >= columns) break;
    cell = row * columns + column;
    if (answer[cell] !== free) break;
    answer[cell] = path;
  }
  return [answer];
}
