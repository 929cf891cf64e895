/**
 * What plain deduction shows about a puzzle in which no value appears twice in any group of cells:
 * naked and hidden singles, as in trm_sdk/domains/deduction.py.
 *
 * What a cell may hold is a BigInt with a bit for each value: there may be more than 32 of them.
 */

/**
 * @typedef {{cell: number} | {group: number, value: number}} Contradiction the cell that no value is
 *   left for; or the group in which a value, counted from 0, has no place left
 */

/**
 * What shows that a puzzle has no solution; null where nothing plain does.
 *
 * @param {bigint[]} masks what each cell may hold
 * @param {number} values how many there are
 * @param {number[][]} groups cells of each
 * @returns {Contradiction | null}
 */
export function contradiction(masks, values, groups) {
  const board = Array.from(masks);
  const everything = (1n << BigInt(values)) - 1n;
  const peers = board.map(() => new Set());
  const fullOf = board.map(() => []);
  groups.forEach((cells, group) => {
    for (const cell of cells) {
      for (const other of cells) if (other !== cell) peers[cell].add(other);
      if (cells.length === values) fullOf[cell].push(group);
    }
  });
  const dirty = new Set(groups.flatMap(({ length }, group) => (length === values ? [group] : [])));
  let placed = board.flatMap((mask, cell) => (isOne(mask) ? [cell] : []));
  for (;;) {
    for (const cell of placed) {
      // `placed` grows meanwhile: what is given comes before what follows from it.
      const bit = board[cell];
      for (const group of fullOf[cell]) dirty.add(group);
      for (const peer of peers[cell]) {
        if (!(board[peer] & bit)) continue;
        board[peer] ^= bit;
        if (!board[peer]) return { cell: peer };
        for (const group of fullOf[peer]) dirty.add(group);
        if (isOne(board[peer])) placed.push(peer);
      }
    }
    if (!dirty.size) return null;
    placed = [];
    const [group] = dirty;
    dirty.delete(group);
    let once = 0n;
    let twice = 0n;
    for (const cell of groups[group]) {
      twice |= once & board[cell];
      once |= board[cell];
    }
    if (once !== everything) return { group, value: lowest(everything & ~once) };
    const alone = once & ~twice;
    for (const cell of groups[group]) {
      const mask = board[cell] & alone;
      if (!mask || mask === board[cell]) continue;
      if (!isOne(mask)) return { group, value: lowest(mask & (mask - 1n)) };
      board[cell] = mask;
      placed.push(cell);
    }
  }
}

const isOne = (mask) => (mask & (mask - 1n)) === 0n;
const lowest = (mask) => (mask & -mask).toString(2).length - 1;
