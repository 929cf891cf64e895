"""A domain of any size with targets in time, for tests: which cells does water from a spring reach?

Water spreads by one cell a pass. The head ``wet`` says whether it has come by now.
"""

from __future__ import annotations

from types import MappingProxyType

import numpy as np
from pydantic import BaseModel, ConfigDict

from trm_sdk import Grid, Task
from trm_sdk.domains import available_domains, register_domain
from trm_sdk.domains.base import Domain
from trm_sdk.domains.data import Examples, Head, Targets
from trm_sdk.domains.vocabulary import Token, Vocabulary
from trm_sdk.structure import Structure, offsets

ROCK, DRY, SPRING, WET = range(4)


class FloodOptions(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int = 4
    columns: int = 4
    rocks: float = 0.3


def distances(cells: np.ndarray) -> np.ndarray:
    """Steps from the spring; -1 where water does not come."""
    field = np.where(cells == SPRING, 0, -1)
    for step in range(cells.size):
        near = np.pad(field == step, 1)
        near = near[:-2, 1:-1] | near[2:, 1:-1] | near[1:-1, :-2] | near[1:-1, 2:]
        field[near & (field < 0) & (cells != ROCK)] = step + 1
    return field


class Flood(Domain):
    name, shape, any_size = "test-flood", (4, 4), True
    vocabulary = Vocabulary(
        (
            Token("rock", "#", ("given",)),
            Token("dry", ".", ("blank", "answer")),
            Token("spring", "o", ("given",)),
            Token("wet", "~", ("answer",)),
        )
    )
    structure = Structure(shape=(4, 4), relations=(offsets(),))
    heads = MappingProxyType({"wet": 2})
    Options = FloodOptions

    def generate(self, rng, rows, columns, rocks):
        cells = np.where(rng.random((rows, columns)) < rocks, ROCK, DRY)
        cells[rng.integers(rows), rng.integers(columns)] = SPRING
        return Task((Grid(cells),), answers=(self.solution(cells),))

    def solution(self, cells) -> Grid:
        return Grid(np.where((distances(cells) > 0) & (cells == DRY), WET, cells))

    def verify(self, task, answer, index=0):
        return answer == self.solution(task.inputs[index].cells)

    def targets(self, examples: Examples) -> Targets:
        boards = examples.tokens.reshape(-1, *examples.shape)
        field = np.stack([distances(board) for board in boards]).reshape(examples.tokens.shape)
        due = np.maximum(field, 0).astype(np.int32)
        weight = np.where(field > 0, 2, 1).astype(np.float32)
        free = examples.tokens != ROCK
        head = Head((field >= 0).astype(np.int32), due, 0, free)
        return Targets(due, weight, {"wet": head})


FLOOD = Flood()
if FLOOD.name not in available_domains():
    register_domain(FLOOD.name, Flood)
