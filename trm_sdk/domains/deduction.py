"""Deduction: what follows from values that must not repeat, and how many solutions that leaves.

Plain Python, for one puzzle at a time: on a 9x9 Sudoku less than a millisecond, without the seconds
that a compiler takes to be imported. Generators have engines of their own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

#: When a count of solutions is given up: guesses times cells of the board, so that it takes about
#: 0.3 s whatever the size. That is 4,938 guesses on a 9x9 board, which seldom needs a hundredth of
#: them, and 640 on 25x25, which may need more.
MAX_WORK = 400_000
#: How many guesses are at cells alone. Only then are the places of values looked at too, which
#: takes a third longer for each guess: most puzzles are counted before that.
PLAIN_GUESSES = 64


class Contradiction(NamedTuple):
    """Why a puzzle has no solution.

    Attributes
    ----------
    cell : int or None
        For which no value is left; None where a value has no place.
    group : int or None
        In which a value has no place left.
    value : int or None
        That value, from 0.
    """

    cell: int | None = None
    group: int | None = None
    value: int | None = None


class Deduction:
    """Naked and hidden singles over groups in which no value appears twice.

    Parameters
    ----------
    cells, values : int
        Their numbers.
    groups : sequence of sequence of int
        Cells of each. In those that have as many cells as there are values, every value stands.

    Notes
    -----
    What a cell may hold is a bit mask: bit v for the value v, from 0.
    """

    def __init__(self, cells: int, values: int, groups: Sequence[Sequence[int]]) -> None:
        self.everything = (1 << values) - 1
        around: list[set[int]] = [set() for _ in range(cells)]
        for group in groups:
            for cell in group:
                around[cell].update(group)
        self._peers = [sorted(some - {cell}) for cell, some in enumerate(around)]
        self._full = {i: [*map(int, g)] for i, g in enumerate(groups) if len(g) == values}
        self._full_of = [
            [i for i, group in self._full.items() if cell in group] for cell in range(cells)
        ]

    def contradiction(self, masks: Sequence[int]) -> Contradiction | None:
        """Return what shows that a puzzle has no solution; None where nothing plain does."""
        return self._reduce(list(masks), [i for i, mask in enumerate(masks) if _is_one(mask)])

    def count(self, masks: Sequence[int], limit: int = 2) -> int | None:
        """Return the number of solutions, at most `limit`; None where that takes too long.

        Branches on what has the fewest possibilities left for the contradictions that it took part
        in (dom/wdeg: Boussemart, Hemery, Lecoutre and Sais, 2004): a cell, or a value with two
        places in a group.
        """
        start = list(masks)
        if self._reduce(start, [i for i, mask in enumerate(start) if _is_one(mask)]) is not None:
            return 0
        found, guesses, most, waiting = 0, 0, MAX_WORK // len(start), [start]
        weights = [1] * len(start)
        failed = {group: [0] * self.everything.bit_length() for group in self._full}
        while waiting:
            board = waiting.pop()
            branches = self._branches(board, weights, failed if guesses >= PLAIN_GUESSES else {})
            if not branches:
                found += 1
                if found == limit:
                    return found
                continue
            guesses += 1
            if guesses > most:
                return None
            for cell, bit in branches:
                tried = board.copy()
                tried[cell] = bit
                shown = self._reduce(tried, [cell])
                if shown is None:
                    waiting.append(tried)
                elif shown.cell is not None:
                    weights[shown.cell] += 1
                elif shown.group is not None and shown.value is not None:
                    failed[shown.group][shown.value] += 1
                    for i in self._full[shown.group]:
                        weights[i] += 1
        return found

    def _branches(
        self, board: list[int], weights: list[int], failed: dict[int, list[int]]
    ) -> list[tuple[int, int]]:
        """Return pairs (cell, bit) of which exactly one holds; none where no cell is open.

        `failed`: how often each value was left without a place, for the groups to look at.
        """
        chosen, least = -1, math.inf
        for cell, mask in enumerate(board):
            if mask & (mask - 1) and (cost := mask.bit_count() / weights[cell]) < least:
                chosen, least = cell, cost
        if chosen < 0:
            return []
        branches = [(chosen, bit) for bit in _bits(board[chosen])]
        for number, failures in failed.items():
            group = self._full[number]
            once = twice = thrice = 0
            for cell in group:
                mask = board[cell]
                thrice |= twice & mask
                twice |= once & mask
                once |= mask
            for bit in _bits(twice & ~thrice):
                one, other = (cell for cell in group if board[cell] & bit)
                weight = failures[_lowest(bit)] + max(weights[one], weights[other])
                if 2 / weight < least:
                    least, branches = 2 / weight, [(one, bit), (other, bit)]
        return branches

    def _reduce(self, masks: list[int], placed: list[int]) -> Contradiction | None:
        """Apply singles in place until nothing changes; `placed`: cells that have become one."""
        peers, full, full_of, everything = self._peers, self._full, self._full_of, self.everything
        dirty = dict.fromkeys(full) if len(placed) != 1 else {}
        while True:
            for cell in placed:  # which grows meanwhile: what is given comes before what follows
                bit = masks[cell]
                for i in full_of[cell]:
                    dirty[i] = None
                for peer in peers[cell]:
                    mask = masks[peer]
                    if mask & bit:
                        mask ^= bit
                        if not mask:
                            return Contradiction(cell=peer)
                        masks[peer] = mask
                        for i in full_of[peer]:
                            dirty[i] = None
                        if not mask & (mask - 1):
                            placed.append(peer)
            if not dirty:
                return None
            placed = []
            number, _ = dirty.popitem()
            group = full[number]
            once = twice = 0
            for cell in group:
                mask = masks[cell]
                twice |= once & mask
                once |= mask
            if once != everything:
                return Contradiction(group=number, value=_lowest(everything & ~once))
            alone = once & ~twice
            if not alone:
                continue
            for cell in group:
                mask = masks[cell] & alone
                if mask and mask != masks[cell]:
                    if mask & (mask - 1):  # two values have this cell as their only place
                        return Contradiction(group=number, value=_lowest(mask & (mask - 1)))
                    masks[cell] = mask
                    placed.append(cell)


def _is_one(mask: int) -> bool:
    return not mask & (mask - 1)


def _bits(mask: int) -> Iterator[int]:
    while mask:
        yield mask & -mask
        mask &= mask - 1


def _lowest(mask: int) -> int:
    return (mask & -mask).bit_length() - 1


__all__ = ["Contradiction", "Deduction"]
