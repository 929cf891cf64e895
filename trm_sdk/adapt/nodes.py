"""From grids to nodes: (example, colour, cell), in numpy.

An example has nodes for the colours that it is about (those of its input, those that outputs bring
in, and the blank one) and has its own size: nothing is padded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trm_sdk.adapt.sizes import Shape, SizeRule, find_rule
from trm_sdk.errors import InvalidInputError
from trm_sdk.grid import Grid
from trm_sdk.messages import times
from trm_sdk.task import Task

Cells = npt.NDArray[np.int64]
Float32 = npt.NDArray[np.float32]

#: Blocks that an input is cut into at most.
_MOST_BLOCKS = 4
#: Steps along rows and columns in which an input is repeated where the output is a multiple of it.
_MIRRORED = ((1, 1), (-1, 1), (1, -1), (-1, -1))


@dataclass(frozen=True)
class View:
    """How the canvas of an example, which its answer lies on, looks at its input.

    Attributes
    ----------
    kind : {"same", "blocks", "zoom", "corner"}
        Cell by cell; the input's blocks upon each other (as where halves are compared); the input
        enlarged, and repeated beside it, as it is and mirrored (up-down, left-right, both); both
        from the top left corner.
    blocks : (rows, columns)
        Of blocks; 1x1 for other kinds.
    gaps : (rows, columns)
        Lines between blocks: 0 or 1.
    """

    kind: str
    blocks: tuple[int, int] = (1, 1)
    gaps: tuple[int, int] = (0, 0)

    @property
    def count(self) -> int:
        """Views of the input that a cell has."""
        return {"zoom": 1 + len(_MIRRORED), "blocks": self.blocks[0] * self.blocks[1]}.get(
            self.kind, 1
        )

    def fits(self, before: Shape, after: Shape) -> bool:
        """Return whether an input and output of these shapes can be seen in this way."""
        if self.kind == "same":
            return before == after
        if self.kind == "zoom":
            return all(a % b == 0 for a, b in zip(after, before, strict=True))
        if self.kind == "blocks":
            return all(
                b == n * a + (n - 1) * gap
                for b, a, n, gap in zip(before, after, self.blocks, self.gaps, strict=True)
            )
        return True

    def canvas(self, before: Shape, after: Shape) -> Shape:
        """Return the shape of the canvas."""
        if self.kind == "corner":
            return max(before[0], after[0]), max(before[1], after[1])
        return after

    def look(self, cells: Cells, after: Shape, outside: int) -> Cells:
        """Return what each cell of the canvas sees of an input.

        Parameters
        ----------
        cells : int array of shape (rows, columns)
        after : (rows, columns)
            Of the output.
        outside : int
            Stands where there is nothing to be seen.

        Returns
        -------
        int array of shape (views, rows, columns)
        """
        if self.kind == "same":
            return cells[None]
        rows, columns = self.canvas(cells.shape, after)
        if self.kind == "zoom":
            down, right = rows // cells.shape[0], columns // cells.shape[1]
            zoomed = cells.repeat(down, 0).repeat(right, 1)
            tiles = [np.tile(cells[::a, ::b], (down, right)) for a, b in _MIRRORED]
            return np.stack([zoomed, *tiles])
        if self.kind == "blocks":
            return np.stack(
                [
                    cells[top : top + rows, left : left + columns]
                    for top in range(0, cells.shape[0], rows + self.gaps[0])
                    for left in range(0, cells.shape[1], columns + self.gaps[1])
                ]
            )
        seen = np.full((1, rows, columns), outside, np.int64)
        seen[0, : cells.shape[0], : cells.shape[1]] = cells
        return seen


def find_view(pairs: Sequence[tuple[Shape, Shape]]) -> View:
    """Return the closest way to look at inputs that fits all (input, output) shapes."""
    views = [View("same")]
    (before, after), *_ = pairs
    blocks, gaps = zip(*map(_split, before, after), strict=True)
    if 2 <= blocks[0] * blocks[1] <= _MOST_BLOCKS:
        views.append(View("blocks", (blocks[0], blocks[1]), (gaps[0], gaps[1])))
    views.append(View("zoom"))
    return next((v for v in views if all(v.fits(*pair) for pair in pairs)), View("corner"))


def _split(before: int, after: int) -> tuple[int, int]:
    """Number of blocks of size `after` in `before`, and the lines between them; 0 where uneven."""
    if before % after == 0:
        return before // after, 0
    if (before + 1) % (after + 1) == 0:
        return (before + 1) // (after + 1), 1
    return 0, 0


@dataclass(frozen=True)
class Batch:
    """Examples as the network takes them.

    Attributes
    ----------
    palette : int
        Colours of the whole task.
    counts : int64 array of shape (examples,)
        Colours of each example.
    members : int64 array of shape (grids,)
        Which they are, as indices into the task's palette.
    heights, widths, areas : int64 arrays of shape (examples,)
        Of each example's canvas.
    features : float32 array of shape (nodes, features)
        Of a node: for each view, whether its cell has its colour, and whether that is black; then
        whether the colour is black, whether it is in the input, whether the cell is in the output,
        whether it is in the input, and 1; where the input is repeated, also whether the cell is in
        an odd repetition, counted down and counted right.
    views : float32 array of shape (nodes, views)
        Whether the cell has the colour, in each view.
    sources : int64 array of shape (cells,)
        Index into the palette of the colour of each cell in the first view; `palette` outside.
    targets : int64 array of shape (cells,)
        Which of its example's colours each cell of the output has; -1 outside the output, and where
        it is not known.
    shares : float32 array of shape (examples,)
        Weight of a cell in the loss.
    outputs : tuple of (rows, columns)
        Of each example's output.
    """

    palette: int
    counts: Cells
    members: Cells
    heights: Cells
    widths: Cells
    areas: Cells
    features: Float32
    views: Float32
    sources: Cells
    targets: Cells
    shares: Float32
    outputs: tuple[Shape, ...]

    @property
    def examples(self) -> int:
        """Number of examples."""
        return len(self.heights)

    @property
    def nodes(self) -> int:
        """Number of nodes: cells times colours."""
        return int((self.counts * self.areas).sum())

    @property
    def cells(self) -> int:
        """Number of cells."""
        return int(self.areas.sum())

    @property
    def rows(self) -> int:
        """Number of rows of nodes, colour by colour."""
        return int((self.counts * self.heights).sum())

    @property
    def columns(self) -> int:
        """Number of columns of nodes, colour by colour."""
        return int((self.counts * self.widths).sum())

    @property
    def grids(self) -> int:
        """Number of grids of nodes: the colours of all examples."""
        return int(self.counts.sum())

    def split(self, logits: Float32) -> list[Float32]:
        """Return the logits of each example, of shape (colours, rows, columns)."""
        ends = np.cumsum(self.counts * self.areas)
        return [
            part.reshape(count, height, width)
            for part, count, height, width in zip(
                np.split(logits, ends[:-1]), self.counts, self.heights, self.widths, strict=True
            )
        ]

    def right(self, logits: Float32) -> npt.NDArray[np.bool_]:
        """Return for each example whether all cells of its output are right."""
        best = np.concatenate([one.argmax(0).ravel() for one in self.split(logits)])
        wrong = (self.targets >= 0) & (best != self.targets)
        starts = np.concatenate([[0], np.cumsum(self.areas)[:-1]])
        right: npt.NDArray[np.bool_] = np.add.reduceat(wrong, starts) == 0
        return right


class Coding:
    """How the grids of one task become nodes, and nodes grids.

    Parameters
    ----------
    task : Task
        With demonstrations.
    blank : int
        The value of cells that are empty, as black is in ARC; its colour is marked. Default 0.

    Attributes
    ----------
    rule : SizeRule
    view : View
    palette : tuple of int
        Values that occur, ascending.

    Raises
    ------
    InvalidInputError
        If the task has no demonstrations, or their sizes follow no rule: see `sizes.find_rule`.
    """

    def __init__(self, task: Task, blank: int = 0) -> None:
        if not task.demonstrations:
            raise InvalidInputError("a task to adapt to needs demonstrations; this one has none")
        pairs = [(before.shape, after.shape) for before, after in task.demonstrations]
        rule = find_rule(pairs)
        if rule is None:
            shown = ", ".join(f"{times(a)} to {times(b)}" for a, b in pairs[:4])
            raise InvalidInputError(
                "the sizes of the demonstrations follow no rule (same, constant, ratio), so the "
                f"answer's size is not known; got {shown}{', ...' if len(pairs) > 4 else ''}"
            )
        self.rule: SizeRule = rule
        self.view = find_view(pairs)
        grids = [grid for pair in task.demonstrations for grid in pair] + list(task.inputs)
        found = {int(value) for grid in grids for value in np.unique(grid.cells)}
        self.blank = blank
        self.palette = tuple(sorted(found | {blank}))
        # What an output has of colours beyond its input's; examples have nodes for these, too.
        self._brought = set().union(
            *(
                set(np.unique(after.cells).tolist()) - set(np.unique(before.cells).tolist())
                for before, after in task.demonstrations
            )
        ) | {blank}

    @property
    def features(self) -> int:
        """Number of features of a node."""
        return 2 * self.view.count + 5 + 2 * (self.view.kind == "zoom")

    def describe(self) -> dict[str, Any]:
        """Return as plain data what a program in another language needs to build batches.

        Returns
        -------
        dict
            ``blank``, ``palette``, ``brought`` (values that every example has nodes for), ``rule``
            (``kind``, ``shape``, ``ratio`` as two fractions [numerator, denominator]) and ``view``
            (``kind``, ``blocks``, ``gaps``).
        """
        rule, view = self.rule, self.view
        ratio = rule.ratio and [[one.numerator, one.denominator] for one in rule.ratio]
        return {
            "blank": self.blank,
            "palette": list(self.palette),
            "brought": sorted(self._brought),
            "rule": {"kind": rule.kind, "shape": rule.shape and list(rule.shape), "ratio": ratio},
            "view": {"kind": view.kind, "blocks": list(view.blocks), "gaps": list(view.gaps)},
        }

    def copying(self) -> Float32:
        """Return how far each view of the input is copied before anything is learned."""
        whole = self.view.kind in ("same", "corner")
        copied = np.full(self.view.count, 1.0 if whole else 0.5, np.float32)
        if self.view.kind == "zoom":
            copied[2:] = 0  # mirrored
        return copied

    def output_shape(self, grid: Grid) -> Shape:
        """Return the size of the answer to an input.

        Raises
        ------
        InvalidInputError
            If the rule gives none, or one that can't be drawn from this input.
        """
        shape = self.rule.output_shape(grid.shape)
        if shape is None or not self.view.fits(grid.shape, shape) or max(shape) > 127:
            raise InvalidInputError(
                f"an input of {times(grid.shape)} has no answer by the size rule of the "
                f"demonstrations ({self.rule.kind})"
            )
        return shape

    def batch(self, inputs: Sequence[Grid], outputs: Sequence[Grid] | None = None) -> Batch:
        """Return examples as the network takes them.

        Parameters
        ----------
        inputs : sequence of Grid
        outputs : sequence of Grid, optional
            Their answers, to learn from.

        Raises
        ------
        InvalidInputError
            If an input has a colour that the task has not, or a size that the rule has no answer
            for.
        """
        features: list[Float32] = []
        members, sources, targets, canvases, shapes = [], [], [], [], []
        for number, grid in enumerate(inputs):
            cells = self._indices(grid)
            after = self.output_shape(grid) if outputs is None else outputs[number].shape
            own = self.colours_of(grid)
            seen = self.view.look(cells, after, len(self.palette))
            canvas = seen.shape[1:]
            inside = np.zeros(canvas, bool)
            inside[: after[0], : after[1]] = True
            members.append(own)
            features.append(self._features(own, cells, seen, inside))
            sources.append(seen[0].ravel())
            target = np.full(canvas, -1, np.int64)
            if outputs is not None:
                place = np.full(len(self.palette), -1, np.int64)
                place[own] = np.arange(len(own))
                target[inside] = place[self._indices(outputs[number]).ravel()]
            targets.append(target.ravel())
            canvases.append(canvas)
            shapes.append(after)
        heights, widths = np.array(canvases, np.int64).T.copy()
        counted = [max(1, int((target >= 0).sum())) for target in targets]
        stacked = np.concatenate(features)
        return Batch(
            len(self.palette),
            np.array([len(own) for own in members], np.int64),
            np.concatenate(members),
            heights,
            widths,
            heights * widths,
            stacked,
            stacked[:, : self.view.count].copy(),
            np.concatenate(sources),
            np.concatenate(targets),
            np.array([1 / (len(inputs) * count) for count in counted], np.float32),
            tuple(shapes),
        )

    def colours_of(self, grid: Grid) -> Cells:
        """Return the colours that an input has nodes for, as indices into the palette."""
        values = self._brought | set(np.unique(grid.cells).tolist())
        return np.array([i for i, value in enumerate(self.palette) if value in values], np.int64)

    def grids(self, batch: Batch, logits: Float32) -> list[Grid]:
        """Return the answers that logits stand for."""
        values = np.array(self.palette)[batch.members]
        found, start = [], 0
        for one, shape in zip(batch.split(logits), batch.outputs, strict=True):
            best = one.argmax(0)[: shape[0], : shape[1]]
            found.append(Grid(values[start : start + len(one)][best]))
            start += len(one)
        return found

    def _indices(self, grid: Grid) -> Cells:
        unknown = set(np.unique(grid.cells).tolist()) - set(self.palette)
        if unknown:
            raise InvalidInputError(
                f"the value {min(unknown)} is not among those of the task, "
                f"{', '.join(map(str, self.palette))}: adapt to a task that has it"
            )
        table = np.zeros(256, np.int64)
        table[np.array(self.palette)] = np.arange(len(self.palette))
        indices: Cells = table[grid.cells.astype(np.int64)]
        return indices

    def _features(
        self, own: Cells, cells: Cells, seen: Cells, inside: npt.NDArray[np.bool_]
    ) -> Float32:
        """Features of the nodes of one example, colour by colour, then cell by cell."""
        views = len(seen)
        made = np.zeros((len(own), *seen.shape[1:], self.features), np.float32)
        black = own.tolist().index(self.palette.index(self.blank))
        for view, look in enumerate(seen):
            made[..., view] = look == own[:, None, None]
            made[black, ..., views + view] = made[black, ..., view]
        rest = 2 * views
        made[black, ..., rest] = 1
        made[np.isin(own, cells), ..., rest + 1] = 1
        made[..., rest + 2] = inside
        made[..., rest + 3] = seen[0] < len(self.palette)
        made[..., rest + 4] = 1
        if self.view.kind == "zoom":
            for axis, feature in enumerate((rest + 5, rest + 6)):
                repeat = np.arange(seen.shape[1 + axis]) // cells.shape[axis]
                made[..., feature] = np.expand_dims(repeat % 2, 1 - axis)
        return made.reshape(-1, self.features)


def units(coding: Coding, task: Task, nodes: int, order: Sequence[int]) -> list[Batch]:
    """Return batches of whole demonstrations, of at most `nodes` nodes where one has no more.

    Parameters
    ----------
    coding : Coding
    task : Task
    nodes : int
    order : sequence of int
        Which demonstrations, in this order.
    """
    made: list[Batch] = []
    members: list[tuple[Grid, Grid]] = []
    room: Any = nodes
    for index in order:
        pair = task.demonstrations[index]
        rows, columns = coding.view.canvas(pair[0].shape, pair[1].shape)
        size = rows * columns * len(coding.colours_of(pair[0]))
        if members and size > room:
            made.append(coding.batch(*zip(*members, strict=True)))
            members, room = [], nodes
        members.append(pair)
        room -= size
    made.append(coding.batch(*zip(*members, strict=True)))
    return made


__all__ = ["Batch", "Coding", "View", "find_view", "units"]
