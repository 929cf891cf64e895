/**
 * Jigsaws for `trm.js` and its page: the regions that come with each puzzle, as text. As `text.py`
 * reads them; see `Rules` in export/web_assets/puzzle.js for the contract.
 */

/** The regions of a puzzle have the weights of Sudoku's boxes. */
export const ownGroups = { key: "box", kind: "region" };

const BETWEEN = /[\s,;|:]+/;
const WALL = /[-+|=#\u2500-\u257f]/;
/** (row, column) steps to the cells beside one. */
const BESIDE = [
  [0, 1],
  [1, 0],
  [0, -1],
  [-1, 0],
];

/**
 * The board and the regions of a text: on one line, parted by a blank; one board below the other; or
 * drawn, with walls between regions.
 *
 * @type {import("../../../../../export/web_assets/puzzle.js").Rules["read"]}
 */
export function read(text, { rows: size }) {
  const lines = text.replace(/^\ufeff/, "").split(/\r\n|[\r\n]/).filter((line) => line.trim());
  const drawn = readDrawing(lines, size);
  if (drawn) return drawn;
  const together = (parts) => parts.map((part) => part.split(BETWEEN).join("")).join("");
  let halves = null;
  if (lines.length === 2 * size) halves = [lines.slice(0, size), lines.slice(size)].map(together);
  else if (lines.length === 2) halves = lines.map((line) => together([line]));
  else if (lines.length === 1) {
    const parts = lines[0].trim().split(BETWEEN).filter(Boolean);
    if (parts.length === 2) halves = parts;
    else if (parts.length === 2 * size) halves = [parts.slice(0, size), parts.slice(size)].map(together);
  }
  const cells = size * size;
  if (halves?.[0].length !== cells) {
    throw new Error(
      `a jigsaw is ${cells} cells and the region of each: on one line, parted by a blank; one board ` +
        "below the other; or drawn with walls",
    );
  }
  return { board: halves[0], groups: membersOf([...halves[1]], size) };
}

/** @type {import("../../../../../export/web_assets/puzzle.js").Rules["write"]} */
export function write(groups, { values }) {
  const symbols = [];
  groups.forEach((group, number) => group.forEach((cell) => (symbols[cell] = values[number + 1].symbol)));
  return symbols.join("");
}

/** Cells of each region, in the order of the regions' first cells. */
function membersOf(symbols, size) {
  const members = new Map();
  symbols.forEach((symbol, cell) => members.set(symbol, [...(members.get(symbol) ?? []), cell]));
  const groups = [...members.values()];
  if (groups.length === size && groups.every(({ length }) => length === size)) return groups;
  const sizes = groups.map(({ length }) => length).sort((a, b) => a - b).join(", ");
  throw new Error(
    `a jigsaw of ${size}x${size} must have ${size} regions of ${size} cells; got ${groups.length} of ` +
      `${sizes} cells`,
  );
}

/** A drawing, three characters a cell with walls and corners between; null: it is not one. */
function readDrawing(lines, size) {
  const indent = Math.min(...lines.map((line) => line.search(/\S/)));
  const rows = lines.map((line) => line.slice(indent).trimEnd());
  const wide = 4 * size + 1;
  if (rows.length !== 2 * size + 1 || rows.some(({ length }) => length > wide)) return null;
  const at = (row, column) => rows[row][column] ?? " ";
  if (![at(0, 2), at(1, 0), at(2 * size, 2)].every((character) => WALL.test(character))) return null;
  let board = "";
  const region = new Int32Array(size * size).fill(-1);
  for (let start = 0; start < size * size; start += 1) {
    const character = at(2 * Math.floor(start / size) + 1, 4 * (start % size) + 2);
    board += character === " " ? "." : character;
    if (region[start] >= 0) continue;
    region[start] = start;
    const reached = [start];
    for (const cell of reached) {
      const [row, column] = [Math.floor(cell / size), cell % size];
      for (const [down, right] of BESIDE) {
        const [r, c] = [row + down, column + right];
        const inside = r >= 0 && r < size && c >= 0 && c < size;
        if (!inside || at(2 * row + 1 + down, 4 * column + 2 + 2 * right) !== " ") continue;
        if (region[r * size + c] >= 0) continue;
        region[r * size + c] = start;
        reached.push(r * size + c);
      }
    }
  }
  return { board, groups: membersOf([...region], size) };
}
