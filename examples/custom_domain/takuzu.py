"""Takuzu, the binary puzzle: no three equal in a row, as many 0 as 1, and no two lines the same."""

from itertools import product

import numpy as np

from trm_sdk import Domain, InvalidInputError, Task, Token, Vocabulary, structure
from trm_sdk.domains.symmetry import Turn

TOKENS = Vocabulary(  # a cell's value is 0 where it is empty, 1 for "0" and 2 for "1"
    (
        Token("pad", " ", ("pad",)),
        Token("empty", ".", ("blank",), aliases="_*?"),
        Token("zero", "0", ("given", "answer")),
        Token("one", "1", ("given", "answer")),
    )
)


class Takuzu(Domain):
    family, vocabulary, has_symmetries = "takuzu", TOKENS, True

    def __init__(self, rows=6, columns=6):
        if rows != columns or rows not in (4, 6, 8, 10):
            raise InvalidInputError(f"a Takuzu must be 4x4, 6x6, 8x8 or 10x10; got {rows}x{columns}")
        self.n, self.name, self.shape = rows, f"takuzu-{rows}x{rows}", (rows, rows)
        near = structure.offsets(*((0, d) for d in (-2, -1, 1, 2)), *((d, 0) for d in (-2, -1, 1, 2)))
        kinds = structure.rows("line"), structure.columns("line"), near, structure.values()
        self.structure = structure.Structure(shape=self.shape, relations=kinds)
        lines = np.array(list(product((1, 2), repeat=rows)))
        lines = lines[balanced(lines)]
        self.zeros, self.ones = ((lines == value).astype(np.float32) for value in (1, 2))

    def resized(self, shape):
        return Takuzu(*shape)

    def verify(self, task, answer, index=0):
        both = [self.encode_grid(grid)[None] for grid in (task.inputs[index], answer)]
        return answer.shape == self.shape and bool(self.verify_tokens(*both)[0])

    def verify_tokens(self, tokens, answers, shape=None):
        right = (~TOKENS.is_given[tokens] | (tokens == answers)).all(1)
        boards = np.reshape(answers, (-1, self.n, self.n)) - TOKENS.first
        for lines in (boards, boards.swapaxes(1, 2)):
            numbers = np.sort((lines == 2) @ (1 << np.arange(self.n)))
            right &= balanced(lines).all(1) & (numbers[:, 1:] != numbers[:, :-1]).all(1)
        return right

    def rules_out(self, answer):
        return answer.count(TOKENS.answer_tokens[0]) * 2 != len(answer)

    def random_symmetry(self, rng):
        return Turn(int(rng.integers(8)), np.array((0, *rng.permutation((1, 2))), np.int8))

    def generate(self, rng):
        """Clear the cells of a solved board, in random order, that the other cells tell."""
        board = puzzle = self.deduce(np.zeros(self.shape, int), rng)
        for cell in zip(*np.unravel_index(rng.permutation(board.size), self.shape)):
            cleared = puzzle.copy()
            cleared[cell] = 0
            if self.deduce(cleared)[cell]:
                puzzle = cleared
        return Task((puzzle,), answers=(board,))

    def deduce(self, board, rng=None):
        """Fill what each line says by itself; with `rng`, guess on until the board is full."""
        while True:
            lines = np.stack((board, board.T))
            fits = (lines == 1) @ self.ones.T + (lines == 2) @ self.zeros.T == 0  # (2, n, lines)
            ...
