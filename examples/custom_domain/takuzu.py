"""Takuzu, the binary puzzle: no three equal in a row, as many 0 as 1, and no two lines the same."""

from itertools import product

import numpy as np

from trm_sdk import Domain, InvalidInputError, Task, Token, Vocabulary, structure
from trm_sdk.domains.data import Examples
from trm_sdk.domains.symmetry import Turn

NEAR = [(0, -2), (0, -1), (0, 1), (0, 2), (-2, 0), (-1, 0), (1, 0), (2, 0)]
PAD, EMPTY = Token("pad", " ", ("pad",)), Token("empty", ".", ("blank",), aliases="_*?")
ZERO, ONE = (Token(digit, digit, ("given", "answer")) for digit in "01")
TOKENS = Vocabulary((PAD, EMPTY, ZERO, ONE))  # a cell is 0 where it is empty, 1 for "0", 2 for "1"


class Takuzu(Domain):
    family, vocabulary, has_symmetries = "takuzu", TOKENS, True

    def __init__(self, rows=6, columns=6):
        if rows != columns or rows not in (4, 6, 8, 10):
            raise InvalidInputError(f"a Takuzu is 4x4, 6x6, 8x8 or 10x10; got {rows}x{columns}")
        self.n, self.name, self.shape = rows, f"takuzu-{rows}x{rows}", (rows, rows)
        lines = (structure.rows("line"), structure.columns("line"))
        relations = (*lines, structure.offsets(*NEAR), structure.values())
        self.structure = structure.Structure(shape=self.shape, relations=relations)
        every = np.array([line for line in product((1, 2), repeat=rows) if sum(line) == rows * 1.5])
        same = (every[:, 2:] == every[:, 1:-1]) & (every[:, 1:-1] == every[:, :-2])
        every = every[~same.any(1)]
        self.lines = self.known(every)

    def resized(self, shape):
        return Takuzu(*shape)

    def verify(self, task, answer, index=0):
        both = [self.encode_grid(grid)[None] for grid in (task.inputs[index], answer)]
        return answer.shape == self.shape and bool(self.verify_tokens(*both)[0])

    def verify_tokens(self, tokens, answers, shape=None):
        right = (~TOKENS.is_given[tokens] | (tokens == answers)).all(1)
        boards = np.reshape(answers, (-1, self.n, self.n)) - TOKENS.first
        for lines in (boards, boards.swapaxes(1, 2)):
            right &= (self.known(lines) @ self.lines.T == self.n).any(2).all(1)
            number = np.sort((lines == 2) @ (1 << np.arange(self.n)), axis=1)
            right &= (number[:, 1:] != number[:, :-1]).all(1)
        return right

    def rules_out(self, answer):
        return 2 * answer.count(TOKENS.answer_tokens[0]) != len(answer)

    def random_symmetry(self, rng):
        return Turn(int(rng.integers(8)), np.array((0, *rng.permutation((1, 2))), np.int8))

    def generate(self, rng):
        puzzles, boards = self.make(1, rng)
        return Task((self.decode(puzzles[0] + 1),), answers=(self.decode(boards[0] + 1),))

    def examples(self, n, seed, options=None):  # made many at a time, which takes less time
        made = [self.make(64, np.random.default_rng((seed, i))) for i in range(-(-n // 64))]
        puzzles, boards = np.concatenate(made, 1).astype(np.int32)[:, :n] + TOKENS.first
        return Examples.of(puzzles, boards, self.shape)

    def make(self, n, rng):
        """Return n puzzles and answers; clues that single lines tell are cleared, one by one."""
        boards, each = np.zeros((0, self.seq_len), int), np.arange(n)
        while len(boards) < n:  # fill cells at random until the rest follows; some boards fail
            new = np.zeros((n, self.seq_len), int)
            while (new == 0).any():
                cell = np.where(new == 0, rng.random(new.shape), -1).argmax(1)
                new[each, cell] = np.where(new[each, cell], new[each, cell], rng.integers(1, 3, n))
                new = self.deduced(new)
            boards = np.concatenate((boards, new[self.verify_tokens(new + 1, new + 1)]))[:n]
        puzzles = boards.copy()
        for cell in rng.permuted(np.tile(np.arange(self.seq_len), (n, 1)), axis=1).T:
            fewer = puzzles.copy()
            fewer[each, cell] = 0
            puzzles = np.where(self.deduced(fewer)[each, cell, None], fewer, puzzles)
        return puzzles, boards

    def known(self, lines):
        return np.concatenate((lines == 1, lines == 2), -1).astype(np.float32)

    def deduced(self, cells):
        """Return boards of shape (n, cells) with what follows from each line by itself."""
        while True:
            rows = cells.reshape(-1, self.n, self.n)
            lines = self.known(np.stack((rows, rows.swapaxes(1, 2)), 1))
            fits = lines @ np.roll(self.lines, self.n, 1).T == 0  # no 0 where the line has a 1
            zero, one = np.split(fits.astype(np.float32) @ self.lines > 0, 2, axis=-1)
            told = np.where(zero & one, 0, zero + 2 * one)
            found = np.maximum(told[:, 0], told[:, 1].swapaxes(1, 2)).reshape(cells.shape)
            if (found <= cells).all():
                return cells
            cells = np.maximum(cells, found)
