/**
 * What follows from values that must not appear twice in any of some groups of cells: naked and hidden
 * singles, and how many solutions that leaves, as in trm_sdk/domains/deduction.py.
 *
 * What a cell may hold is a BigInt with a bit for each value: there may be more than 32 of them.
 */

/** When a count of solutions is given up: guesses times cells of the board. */
const MAX_WORK = 400_000;

/** How many guesses are at cells alone; then the places of values are looked at too, which takes longer. */
const PLAIN_GUESSES = 64;

/**
 * @typedef {{cell: number} | {group: number, value: number}} Contradiction the cell that no value is
 *   left for; or the group in which a value, counted from 0, has no place left
 */

/**
 * The cells that share a group with each cell, in order.
 *
 * @param {number} cells
 * @param {number[][]} groups cells of each
 * @returns {number[][]}
 */
export function peersOf(cells, groups) {
  const peers = Array.from({ length: cells }, () => new Set());
  for (const group of groups) {
    for (const cell of group) for (const other of group) if (other !== cell) peers[cell].add(other);
  }
  return peers.map((some) => [...some].sort((a, b) => a - b));
}

/** Deduction over the groups of one kind of board. */
export class Deduction {
  #everything;
  #groups;
  #full; // numbers of the groups with as many cells as there are values: in these, every value stands
  #fullOf;
  #peers;

  /**
   * @param {number} cells
   * @param {number} values how many there are
   * @param {number[][]} groups cells of each
   */
  constructor(cells, values, groups) {
    this.#everything = (1n << BigInt(values)) - 1n;
    this.#groups = groups;
    this.#full = groups.flatMap(({ length }, group) => (length === values ? [group] : []));
    this.#fullOf = Array.from({ length: cells }, () => []);
    for (const group of this.#full) for (const cell of groups[group]) this.#fullOf[cell].push(group);
    this.#peers = peersOf(cells, groups);
  }

  /**
   * What shows that a puzzle has no solution; null where nothing plain does.
   *
   * @param {bigint[]} masks what each cell may hold
   * @returns {Contradiction | null}
   */
  contradiction(masks) {
    return this.#reduce(Array.from(masks), decided(masks));
  }

  /**
   * The number of solutions, at most `limit`; null where that takes too long. Branches on what has the
   * fewest possibilities left for the contradictions that it took part in (dom/wdeg): a cell, or a value
   * with two places in a group.
   *
   * @param {bigint[]} masks what each cell may hold
   * @param {number} limit
   * @returns {number | null}
   */
  count(masks, limit = 2) {
    const start = Array.from(masks);
    if (this.#reduce(start, decided(start))) return 0;
    const weights = start.map(() => 1);
    const failed = new Map(this.#full.map((group) => [group, this.#groups[group].map(() => 0)]));
    const most = Math.floor(MAX_WORK / start.length);
    const waiting = [start];
    let found = 0;
    let guesses = 0;
    while (waiting.length) {
      const board = waiting.pop();
      const branches = this.#branches(board, weights, guesses < PLAIN_GUESSES ? [] : failed);
      if (!branches.length) {
        found += 1;
        if (found === limit) return found;
        continue;
      }
      guesses += 1;
      if (guesses > most) return null;
      for (const [cell, bit] of branches) {
        const tried = board.slice();
        tried[cell] = bit;
        const shown = this.#reduce(tried, [cell]);
        if (!shown) waiting.push(tried);
        else if ("cell" in shown) weights[shown.cell] += 1;
        else {
          failed.get(shown.group)[shown.value] += 1;
          for (const i of this.#groups[shown.group]) weights[i] += 1;
        }
      }
    }
    return found;
  }

  /**
   * Pairs of a cell and a bit of which exactly one holds; none where no cell is open. `failed`: how often
   * each value was left without a place, for the groups to look at.
   */
  #branches(board, weights, failed) {
    let chosen = -1;
    let least = Infinity;
    board.forEach((mask, cell) => {
      if (isOne(mask)) return;
      const cost = sizeOf(mask) / weights[cell];
      if (cost < least) [chosen, least] = [cell, cost];
    });
    if (chosen < 0) return [];
    let branches = bits(board[chosen]).map((bit) => [chosen, bit]);
    for (const [number, failures] of failed) {
      const group = this.#groups[number];
      let once = 0n;
      let twice = 0n;
      let thrice = 0n;
      for (const cell of group) {
        thrice |= twice & board[cell];
        twice |= once & board[cell];
        once |= board[cell];
      }
      for (const bit of bits(twice & ~thrice)) {
        const places = group.filter((cell) => board[cell] & bit);
        const cost = 2 / (failures[lowest(bit)] + Math.max(...places.map((cell) => weights[cell])));
        if (cost < least) [branches, least] = [places.map((cell) => [cell, bit]), cost];
      }
    }
    return branches;
  }

  /** Apply singles in place until nothing changes; `placed`: cells that have become one. */
  #reduce(board, placed) {
    const dirty = new Set(placed.length === 1 ? [] : this.#full);
    for (;;) {
      for (const cell of placed) {
        // `placed` grows meanwhile: what is given comes before what follows from it.
        const bit = board[cell];
        for (const group of this.#fullOf[cell]) dirty.add(group);
        for (const peer of this.#peers[cell]) {
          if (!(board[peer] & bit)) continue;
          board[peer] ^= bit;
          if (!board[peer]) return { cell: peer };
          for (const group of this.#fullOf[peer]) dirty.add(group);
          if (isOne(board[peer])) placed.push(peer);
        }
      }
      if (!dirty.size) return null;
      placed = [];
      const group = [...dirty].pop(); // the last, as in Python: so both count alike
      dirty.delete(group);
      const everything = this.#everything;
      let once = 0n;
      let twice = 0n;
      for (const cell of this.#groups[group]) {
        twice |= once & board[cell];
        once |= board[cell];
      }
      if (once !== everything) return { group, value: lowest(everything & ~once) };
      const alone = once & ~twice;
      for (const cell of this.#groups[group]) {
        const mask = board[cell] & alone;
        if (!mask || mask === board[cell]) continue;
        if (!isOne(mask)) return { group, value: lowest(mask & (mask - 1n)) };
        board[cell] = mask;
        placed.push(cell);
      }
    }
  }
}

const decided = (masks) => Array.from(masks).flatMap((mask, cell) => (isOne(mask) ? [cell] : []));
const isOne = (mask) => (mask & (mask - 1n)) === 0n;
const lowest = (mask) => (mask & -mask).toString(2).length - 1;

function sizeOf(mask) {
  let size = 0;
  for (let rest = mask; rest; rest &= rest - 1n) size += 1;
  return size;
}

function bits(mask) {
  const found = [];
  for (let rest = mask; rest; rest &= rest - 1n) found.push(rest & -rest);
  return found;
}
