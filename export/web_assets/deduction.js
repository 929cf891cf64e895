/**
 * What follows from values that must not appear twice in any of some groups of cells: naked and hidden
 * singles, and how many solutions that leaves, as in trm_sdk/domains/deduction.py.
 *
 * What a cell may hold is a BigInt with a bit for each value: there may be more than 32 of them.
 */

/** When a count of solutions is given up: guesses times cells of the board. */
const MAX_WORK = 400_000;

/**
 * @typedef {{cell: number} | {group: number, value: number}} Contradiction the cell that no value is
 *   left for; or the group in which a value, counted from 0, has no place left
 */

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
    const peers = this.#fullOf.map(() => new Set());
    for (const group of groups) {
      for (const cell of group) for (const other of group) if (other !== cell) peers[cell].add(other);
    }
    this.#peers = peers.map((some) => [...some].sort((a, b) => a - b));
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
   * The number of solutions, at most `limit`; null where that takes too long. Branches on the cell with
   * the fewest values left for the contradictions that it took part in (dom/wdeg).
   *
   * @param {bigint[]} masks what each cell may hold
   * @param {number} limit
   * @returns {number | null}
   */
  count(masks, limit = 2) {
    const start = Array.from(masks);
    if (this.#reduce(start, decided(start))) return 0;
    const weights = start.map(() => 1);
    const waiting = [start];
    let found = 0;
    let guesses = Math.floor(MAX_WORK / start.length);
    while (waiting.length) {
      const board = waiting.pop();
      let cell = -1;
      let least = Infinity;
      board.forEach((mask, i) => {
        if (isOne(mask)) return;
        const cost = sizeOf(mask) / weights[i];
        if (cost < least) [cell, least] = [i, cost];
      });
      if (cell < 0) {
        found += 1;
        if (found === limit) return found;
        continue;
      }
      guesses -= 1;
      if (guesses < 0) return null;
      for (let rest = board[cell]; rest; rest &= rest - 1n) {
        const tried = board.slice();
        tried[cell] = rest & -rest;
        const shown = this.#reduce(tried, [cell]);
        if (!shown) waiting.push(tried);
        else for (const i of "cell" in shown ? [shown.cell] : this.#groups[shown.group]) weights[i] += 1;
      }
    }
    return found;
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
