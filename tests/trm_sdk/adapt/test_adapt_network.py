"""The network's gradients are right, and it can't tell which colour is which."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba")
from adapt_tasks import made

from trm_sdk.adapt.network import TASK, Network, Sizes, Weights, Workspace
from trm_sdk.adapt.nodes import Batch, Coding
from trm_sdk.grid import Grid
from trm_sdk.task import Task

TASKS = {
    "same": made(lambda cells: np.where(cells == 1, 3, cells), ((3, 4), (2, 5))),
    "blocks": made(lambda cells: cells[:, :2], ((3, 4), (2, 4))),
    "corner": made(lambda cells: cells[:1, :1], ((3, 4), (2, 3))),
}


def prepared(task: Task, seed: int = 0) -> tuple[Network, Batch, Coding]:
    coding = Coding(task)
    batch = coding.batch(*zip(*task.demonstrations, strict=True))
    rng = np.random.default_rng(seed)
    sizes = Sizes(len(coding.palette), coding.features, coding.view.count)
    weights = Weights.initial(sizes, rng, coding.copying())
    weights.flat[:] += 0.1 * rng.standard_normal(weights.flat.shape, np.float32)
    return Network(weights), batch, coding


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("off", ["", "offsets", "lines", "grids"])
def test_gradients_are_those_of_finite_differences(name: str, off: str) -> None:
    network, batch, _ = prepared(TASKS[name])
    work = Workspace(batch, network.inner + 1)

    def loss() -> float:
        network.prepare({one: one != off for one in ("offsets", "lines", "grids")})
        return network.learn(batch, work, *network.start(batch), True)[0]

    loss()
    gradient = network.gradient.copy()
    rng = np.random.default_rng(1)
    for weight, values in network.weights.by_name.items():
        # Along a direction: a single weight moves the loss by less than float32 can tell.
        direction = rng.standard_normal(values.shape, np.float32)
        direction /= np.linalg.norm(direction)
        before, step = values.copy(), 5e-3
        values[...] = before + step * direction
        up = loss()
        values[...] = before - step * direction
        down = loss()
        values[...] = before
        expected = float((gradient[weight] * direction).sum())
        scale = max(0.02, float(np.abs(gradient[weight]).max()))
        assert abs((up - down) / (2 * step) - expected) < 0.05 * scale, weight


def test_a_permutation_of_colours_permutes_the_answer() -> None:
    task = TASKS["same"]
    table = np.array([0, 5, 3, 2, 4, 1, 6, 7, 8, 9])  # black stays

    def renamed(grid: Grid) -> Grid:
        return Grid(table[grid.cells])

    other = Task(
        tuple(map(renamed, task.inputs)),
        tuple((renamed(a), renamed(b)) for a, b in task.demonstrations),
    )
    network, batch, coding = prepared(task)
    for name in TASK[1:]:  # what tells colours apart is learned; before that it is zero
        network.weights[name][...] = 0
    other_coding = Coding(other)
    twin = other_coding.batch(*zip(*other.demonstrations, strict=True))
    (logits,) = network.run(batch, Workspace(batch, 3), (3,))
    (turned,) = network.run(twin, Workspace(twin, 3), (3,))
    for one, two, before in zip(
        batch.split(logits), twin.split(turned), task.demonstrations, strict=True
    ):
        own = [coding.palette[index] for index in coding.colours_of(before[0])]
        new = [other_coding.palette[i] for i in other_coding.colours_of(renamed(before[0]))]
        for place, value in enumerate(own):
            np.testing.assert_allclose(one[place], two[new.index(table[value])], atol=1e-4)


def test_an_example_does_not_see_the_others_of_its_batch() -> None:
    network, batch, coding = prepared(TASKS["same"])
    (together,) = network.run(batch, Workspace(batch, 3), (4,))
    for part, pair in zip(batch.split(together), TASKS["same"].demonstrations, strict=True):
        alone = coding.batch([pair[0]], [pair[1]])
        (logits,) = network.run(alone, Workspace(alone, 3), (4,))
        np.testing.assert_allclose(alone.split(logits)[0], part, atol=1e-4)


def test_untrained_it_copies_the_input_wherever_directions_lead() -> None:
    # Directional weights start at zero: a mirrored input has the mirrored logits.
    coding = Coding(TASKS["same"])
    sizes = Sizes(len(coding.palette), coding.features, coding.view.count)
    rng = np.random.default_rng(0)
    network = Network(Weights.initial(sizes, rng, coding.copying()))
    grid = TASKS["same"].demonstrations[0][0]
    plain, mirrored = coding.batch([grid]), coding.batch([Grid(grid.cells[:, ::-1])])
    (one,) = network.run(plain, Workspace(plain, 3), (4,))
    (two,) = network.run(mirrored, Workspace(mirrored, 3), (4,))
    np.testing.assert_allclose(plain.split(one)[0], mirrored.split(two)[0][..., ::-1], atol=1e-4)
