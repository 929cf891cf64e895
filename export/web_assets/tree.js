/**
 * A best-first search over guesses, guided by what the model's dead-end head says: the counterpart of
 * `trm_sdk.search.tree`, which has the reasons for what is done here.
 */

import { peersOf } from "./deduction.js";

const MARGIN = 1.5;
const FAILED = 0.4;
const SUSPECTED = 0.6;
const LEAST = 0.3;
const MOST = 4;
const CERTAIN = -50;

/**
 * A path of guesses.
 *
 * @typedef {object} Node
 * @property {Node | null} parent
 * @property {{cell: number, value: number}[]} path
 * @property {number} prior logarithm of the probability of the last guess, if those before it are right
 * @property {number} number of the attempt that takes it; -1: none has yet
 * @property {number} own evidence of its own attempt
 * @property {number} evidence of the attempts below it, too
 * @property {Node[]} children
 */

const nodeOf = (parent, path, prior) => ({
  parent,
  path,
  prior,
  number: -1,
  own: 0,
  evidence: 0,
  children: [],
});

/** The guesses of one puzzle: which have been made, and which are still open. */
export class Tree {
  #domain;
  #puzzle;
  #given;
  #peers; // of each cell: those that share a group with it; null where the rules name no groups
  #several = false; // solutions
  #root = { ...nodeOf(null, [], 0), number: 0 };
  #nodes = [this.#root]; // by the numbers of their attempts; 0 is the plain one
  #running = new Set([0]);
  #open = new Set();
  #waves = 0;

  /**
   * @param {import("./puzzle.js").Domain} domain
   * @param {Int32Array} puzzle
   */
  constructor(domain, puzzle) {
    this.#domain = domain;
    this.#puzzle = puzzle;
    this.#given = Array.from(puzzle, (value) => domain.isGiven(value));
  }

  /** What the attempt of this number fills in: `{ cell, value }` each. */
  path(number) {
    return this.#nodes[number].path;
  }

  /** The number of the attempt that this one adds a guess to; of the first, its own. */
  parent(number) {
    return this.#nodes[number].parent?.number ?? 0;
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
    const node = this.#nodes[number];
    const { answers, groups } = this.#domain;
    // Here, and not at the start: most puzzles are solved before anything grows.
    this.#peers ??= groups.length ? peersOf(this.#puzzle.length, groups.map(({ cells }) => cells)) : null;
    const filled = new Set(node.path.map(({ cell }) => cell));
    const isOpen = this.#given.map((given, cell) => !given && !filled.has(cell));
    const rowOf = (cell) => probabilities.subarray(cell * answers.length, (cell + 1) * answers.length);
    const worth = (cell) => {
      if (!this.#peers || answers.length < 3) return tornBetweenTwo(rowOf(cell));
      return newsOf(rowOf(cell), this.#peers[cell].filter((peer) => isOpen[peer]).map(rowOf));
    };
    let cell = -1;
    let most = -Infinity;
    isOpen.forEach((open, other) => {
      const found = open ? worth(other) : -Infinity;
      if (found > most) [cell, most] = [other, found];
    });
    node.own = cell < 0 ? CERTAIN : -Math.min(Math.max(FAILED + SUSPECTED * deadEnd, LEAST), MOST);
    if (cell >= 0) {
      rowOf(cell).forEach((p, i) => {
        if (!this.#domain.isGiven(answers[i])) return; // it can't be filled in
        const path = [...node.path, { cell, value: answers[i] }];
        node.children.push(nodeOf(node, path, Math.log(p + 1e-30)));
      });
    }
    for (const child of node.children) this.#open.add(child);
    for (let above = node; above; above = above.parent) {
      above.evidence = above.own + logSum(above.children.map((child) => child.prior + child.evidence));
    }
  }

  /** The numbers of the attempts that now may begin: none while a wave is running. */
  nextWave(width) {
    if (this.#running.size || width < 1 || !this.#open.size) return [];
    const first = this.#nodes.length;
    this.#waves += 1;
    if (this.#waves === 2) this.#several = this.#count([], 2) === 2;
    if (this.#several) this.#beginDeepest();
    else this.#beginLikeliest(width);
    for (let number = first; number < this.#nodes.length; number += 1) this.#running.add(number);
    return [...this.#running];
  }

  /** Begin up to `width` paths, of those that are about as likely as the likeliest. */
  #beginLikeliest(width) {
    let best = Infinity;
    const wave = [];
    for (const [unlikely, node] of this.#byLikelihood()) {
      best = Math.min(best, unlikely);
      if (wave.length === width || unlikely > best + MARGIN) break;
      wave.push(node);
    }
    wave.forEach((node) => this.#begin(node));
  }

  /** Open paths and how unlikely they are, the likeliest first. */
  *#byLikelihood() {
    const waiting = [[0, this.#root]];
    while (waiting.length) {
      let least = 0;
      for (let i = 1; i < waiting.length; i += 1) if (waiting[i][0] < waiting[least][0]) least = i;
      const [[unlikely, node]] = waiting.splice(least, 1);
      if (this.#open.has(node)) {
        yield [unlikely, node];
        continue;
      }
      const chances = node.children.map((child) => child.prior + child.evidence);
      const every = logSum(chances);
      node.children.forEach((child, i) => waiting.push([unlikely + every - chances[i], child]));
    }
  }

  /** Begin the longest path, of equals the likeliest, that leads to a solution. */
  #beginDeepest() {
    const cost = ({ parent, prior }) => -prior - parent.own;
    const deepest = (one, other) => other.path.length - one.path.length || cost(one) - cost(other);
    for (const node of [...this.#open].sort(deepest)) {
      if (this.#count(node.path, 1) !== 0) {
        this.#begin(node);
        return;
      }
      this.#open.delete(node);
    }
  }

  #begin(node) {
    this.#open.delete(node);
    node.number = this.#nodes.length;
    this.#nodes.push(node);
  }

  /** The number of solutions with a path filled in, at most `limit`; null where it can't be told. */
  #count(path, limit) {
    const filled = this.#puzzle.slice();
    for (const { cell, value } of path) filled[cell] = value;
    return this.#domain.countSolutions(filled, limit);
  }
}

/** The logarithm of a sum of which the logarithms are given; 0, which changes nothing, of none. */
function logSum(logarithms) {
  if (!logarithms.length) return 0;
  const most = Math.max(...logarithms);
  return most + Math.log(logarithms.reduce((sum, one) => sum + Math.exp(one - most), 0));
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
