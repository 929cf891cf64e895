/**
 * A best-first search over guesses, guided by what the model's dead-end head says: the counterpart of
 * `trm_sdk.search.tree`, which has the reasons for what is done here.
 */

const MARGIN = 3;
const UNGUIDED = 2;
const A_GUESS = 1.5;

/** The guesses of one puzzle: which have been made, and which are still open. */
export class Tree {
  #domain;
  #puzzle;
  #given;
  #peers; // of each cell: those that share a group with it; null where the rules name no groups
  #several = false; // solutions
  #paths = [[]]; // by the number of the attempt; 0 is the plain one
  #parents = [0];
  #unlikely = [0];
  #running = new Set([0]);
  #grown = [];
  #open = []; // { parent, path, cost, unlikely }, in the order in which they were opened
  #waves = 0;

  /**
   * @param {import("./puzzle.js").Domain} domain
   * @param {Int32Array} puzzle
   */
  constructor(domain, puzzle) {
    this.#domain = domain;
    this.#puzzle = puzzle;
    this.#given = Array.from(puzzle, (value) => domain.isGiven(value));
    this.#peers = domain.groups.length ? peersOf(domain.groups, puzzle.length) : null;
  }

  /** What the attempt of this number fills in: `{ cell, value }` each. */
  path(number) {
    return this.#paths[number];
  }

  /** The number of the attempt that this one adds a guess to; of the first, its own. */
  parent(number) {
    return this.#parents[number];
  }

  /**
   * Take note that an attempt has failed: its children are open from the next wave on.
   *
   * @param {number} number
   * @param {Float32Array} probabilities of its last step, as in `Step`
   * @param {number} deadEnd the head's logit there: positive where it holds a guess for wrong
   */
  grow(number, probabilities, deadEnd) {
    if (!this.#running.delete(number)) return;
    const { answers } = this.#domain;
    const path = this.#paths[number];
    const filled = new Set(path.map(({ cell }) => cell));
    const open = this.#given.map((given, cell) => !given && !filled.has(cell));
    const rowOf = (cell) => probabilities.subarray(cell * answers.length, (cell + 1) * answers.length);
    const worth = (cell) => {
      if (!this.#peers || answers.length < 3) return tornBetweenTwo(rowOf(cell));
      return newsOf(rowOf(cell), this.#peers[cell].filter((peer) => open[peer]).map(rowOf));
    };
    let best = -1;
    let most = -Infinity;
    open.forEach((isOpen, cell) => {
      const found = isOpen ? worth(cell) : -Infinity;
      if (found > most) [best, most] = [cell, found];
    });
    if (best < 0) return;
    rowOf(best).forEach((p, i) => {
      if (!this.#domain.isGiven(answers[i])) return; // it can't be filled in
      const cost = -Math.log(p + 1e-30);
      this.#grown.push({
        parent: number,
        path: [...path, { cell: best, value: answers[i] }],
        cost: deadEnd + cost,
        unlikely: this.#unlikely[number] + A_GUESS + cost,
      });
    });
  }

  /** The numbers of the attempts that now may begin: none while a wave is running. */
  nextWave(width) {
    const first = this.#paths.length;
    if (this.#running.size || width < 1) return [];
    this.#open.push(...this.#grown.splice(0));
    this.#waves += 1;
    if (this.#waves === 2) this.#several = this.#count([], 2) === 2;
    if (this.#several) this.#beginDeepest();
    else this.#beginPromising(width);
    for (let number = first; number < this.#paths.length; number += 1) this.#running.add(number);
    return [...this.#running];
  }

  /** Begin up to `width` paths; in every second wave a few of them unguided. */
  #beginPromising(width) {
    const last = this.#paths.length + width;
    if (this.#waves % 2 === 0) {
      for (let i = 0; i < Math.min(UNGUIDED, width) && this.#open.length; i += 1) this.#begin("unlikely");
    }
    const least = Math.min(...this.#open.map(({ cost }) => cost));
    while (this.#paths.length < last && this.#open.length) {
      if (Math.min(...this.#open.map(({ cost }) => cost)) > least + MARGIN) break;
      this.#begin("cost");
    }
  }

  #begin(key) {
    let best = 0;
    for (let i = 1; i < this.#open.length; i += 1) if (this.#open[i][key] < this.#open[best][key]) best = i;
    this.#beginAt(best);
  }

  /** Begin the longest path, of equals the likeliest, that leads to a solution. */
  #beginDeepest() {
    this.#open.sort((one, other) => other.path.length - one.path.length || one.cost - other.cost);
    while (this.#open.length) {
      if (this.#count(this.#open[0].path, 1) !== 0) return this.#beginAt(0);
      this.#open.shift();
    }
  }

  #beginAt(place) {
    const [{ parent, path, unlikely }] = this.#open.splice(place, 1);
    this.#paths.push(path);
    this.#parents.push(parent);
    this.#unlikely.push(unlikely);
  }

  /** The number of solutions with a path filled in, at most `limit`; null where it can't be told. */
  #count(path, limit) {
    const filled = this.#puzzle.slice();
    for (const { cell, value } of path) filled[cell] = value;
    return this.#domain.countSolutions(filled, limit);
  }
}

/** The cells that share a group with each cell. */
function peersOf(groups, cells) {
  const peers = Array.from({ length: cells }, () => new Set());
  for (const group of groups) for (const cell of group.cells) for (const other of group.cells) peers[cell].add(other);
  return peers.map((found, cell) => [...found].filter((other) => other !== cell));
}

/** How much a cell is expected to tell its peers, for the attempts that it takes. */
function newsOf(row, peers) {
  let entropy = 0;
  let told = 0;
  row.forEach((p, value) => {
    entropy -= p * Math.log(p + 1e-30);
    for (const peer of peers) told += p * peer[value];
  });
  return told * Math.min(entropy, Math.LN2) * Math.exp(-entropy);
}

/** How well a cell is worth branching on: it has two likely values and few others. */
function tornBetweenTwo(row) {
  const [first, second = 0, third = 0] = Float64Array.from(row).sort().reverse();
  return row.length < 3 ? -first : first * second - third / 2;
}
