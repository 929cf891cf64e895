"""What a run leaves for people: report.md with pictures, and TensorBoard's scalars."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trm_sdk.domains import Domain
from trm_sdk.domains.data import Examples

from .evaluate import Accuracy
from .recipe import Recipe

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: TensorBoard's folder in that of a run.
SCALARS = "tensorboard"
#: Puzzles pictured of each kind.
_PICTURED = 3
_BLUE, _GREEN, _RED = "#2563ab", "#2f855a", "#c53030"


class Scalars:
    """TensorBoard's scalars of a run, in `SCALARS`; nothing without a folder or the package.

    Parameters
    ----------
    folder : Path or None
    step : int
        At which the run goes on; what an earlier process has written from there on is hidden.
    """

    def __init__(self, folder: Path | None, step: int = 0) -> None:
        self.writer: Any = None
        if folder is not None:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                return  # a convenience: log.jsonl holds the same
            purged = step + 1 if step else None
            self.writer = SummaryWriter(str(folder / SCALARS), purge_step=purged)

    def __enter__(self) -> Scalars:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.writer is not None:
            self.writer.close()

    def add(self, line: dict[str, Any]) -> None:
        """Add a line of the log."""
        if self.writer is None:
            return
        for key, value in line.items():
            if key != "step" and isinstance(value, (int, float)):
                self.writer.add_scalar(key, value, line["step"])
        self.writer.flush()


def write(
    out: Path,
    recipe: Recipe,
    history: Sequence[dict[str, Any]],
    sets: dict[str, Examples],
    accuracies: dict[str, Accuracy],
    domain: Domain,
) -> Path:
    """Write ``report.md`` and its pictures.

    Parameters
    ----------
    out : Path
        Folder of the run; pictures go to ``report/``.
    recipe : Recipe
    history : sequence of mappings
        Lines of the log.
    sets, accuracies : mappings from a set's name
        What was measured at the end, and on what.
    domain : Domain

    Returns
    -------
    Path
        Of ``report.md``.
    """
    pictures = out / "report"
    pictures.mkdir(exist_ok=True)
    _save(_curves(history), pictures / "curves.png")
    if accuracies:
        _save(_by_steps(accuracies), pictures / "steps.png")
        _save(_by_givens(sets, accuracies, domain), pictures / "difficulty.png")
    last = history[-1] if history else {}
    lines = [f"# {recipe.name}", ""]
    if recipe.expected:
        lines += [f"Expected: {recipe.expected.strip()}", ""]
    if last:
        speed = ""
        if "utilisation" in last:  # not where no step could be timed
            speed = (
                f"; {last['puzzle_steps_per_second']:.0f} puzzle-steps a second, "
                f"{last['utilisation']:.0%} of the measured matrix-product peak"
            )
        lines += [
            f"{last['step']:,} steps of {recipe.batch_size} puzzles in "
            f"{last['seconds'] / 60:.1f} minutes; last loss {last['loss']:.4f}{speed}.",
            "",
        ]
    if accuracies:  # else nothing is held out
        lines += _table(recipe, sets, accuracies)
    lines += ["## Training", "![loss and accuracy over the run](report/curves.png)", ""]
    if accuracies:
        lines += [
            "## Accuracy by recursion",
            "![accuracy by supervision steps](report/steps.png)",
            "",
            "## Accuracy by difficulty",
            "![accuracy by number of givens](report/difficulty.png)",
            "",
        ]
    for title, want in (("Solved", True), ("Failed", False)):
        chosen = _choose(sets, accuracies, want)
        if chosen:
            _save(_boards(chosen, domain), pictures / f"{title.lower()}.png")
            lines += [f"## {title}", f"![{title.lower()} puzzles](report/{title.lower()}.png)", ""]
    lines += [
        "Given values are on grey; the model's are green where right and red where wrong, or "
        "have a red dot where they fill their cell. "
        "A failed puzzle is shown with its last answer.",
        "",
    ]
    page = out / "report.md"
    page.write_text("\n".join(lines), encoding="utf-8")
    return page


def _table(recipe: Recipe, sets: dict[str, Examples], accuracies: dict[str, Accuracy]) -> list[str]:
    """Accuracies on each set, as lines of Markdown."""
    rows = [
        f"| {name} | {len(sets[name].tokens)} | {one.last[-1]:.1%} | {one.verified[-1]:.1%} | "
        f"{one.halting:.1%} |"
        for name, one in accuracies.items()
    ]
    return [
        f"Exact answers on held-out puzzles, averaged weights, {recipe.evaluation.steps} "
        "supervision steps:",
        "",
        "| set | puzzles | right at the last step | confirmed by the rules on the way | "
        "halting head right |",
        "| --- | --- | --- | --- | --- |",
        *rows,
        "",
    ]


def _figure(columns: int, width: float = 5.2, height: float = 3.6) -> tuple[Figure, list[Axes]]:
    # Not pyplot: it would pick a display and keep every figure.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, height), layout="constrained")
    axes = [figure.add_subplot(1, columns, number + 1) for number in range(columns)]
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=110)


def _curves(history: Sequence[dict[str, Any]]) -> Figure:
    figure, (left, right) = _figure(2)
    minutes = [line["seconds"] / 60 for line in history]
    marker = "o" if len(history) < 20 else None
    left.plot(minutes, [line["loss"] for line in history], color=_BLUE, marker=marker, ms=3)
    if history and min(line["loss"] for line in history) > 0:
        left.set_yscale("log")
    left.set(xlabel="minutes", ylabel="training loss")
    names = [key.removesuffix("/last") for key in (history[0] if history else {}) if "/last" in key]
    for number, name in enumerate(names):
        for kind, style in (("last", "--"), ("verified", "-")):
            values = [100 * line.get(f"{name}/{kind}", math.nan) for line in history]
            label = f"{name}, {'at the last step' if kind == 'last' else 'confirmed on the way'}"
            right.plot(minutes, values, style, color=f"C{number}", label=label, marker=marker, ms=3)
    right.set(xlabel="minutes", ylabel="exact answers, %", ylim=(-2, 102))
    if names:
        right.legend(frameon=False, fontsize=8)
    return figure


def _by_steps(accuracies: dict[str, Accuracy]) -> Figure:
    figure, (axis,) = _figure(1, 6.4)
    for number, (name, one) in enumerate(accuracies.items()):
        steps = np.arange(1, len(one.last) + 1)
        axis.plot(steps, 100 * one.verified, color=f"C{number}", label=f"{name}, confirmed so far")
        axis.plot(steps, 100 * one.last, "--", color=f"C{number}", label=f"{name}, at this step")
    axis.set(xlabel="supervision steps", ylabel="exact answers, %", ylim=(-2, 102))
    axis.legend(frameon=False, fontsize=8)
    return figure


def _by_givens(
    sets: dict[str, Examples], accuracies: dict[str, Accuracy], domain: Domain
) -> Figure:
    """Fewer givens are harder within a set; sets of named puzzles are told apart by name."""
    from matplotlib.ticker import MaxNLocator

    figure, (axis,) = _figure(1, 6.4)
    for number, (name, one) in enumerate(accuracies.items()):
        tokens = sets[name].tokens
        givens = domain.vocabulary.is_given[tokens].sum(1)
        values = np.unique(givens)
        shares = [100 * one.confirmed[givens == value].mean() for value in values]
        counts = np.array([(givens == value).sum() for value in values])
        axis.plot(values, shares, color=f"C{number}", alpha=0.5)
        area = 12 + 120 * counts / counts.max()
        axis.scatter(values, shares, area, color=f"C{number}", label=name, linewidths=0)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set(xlabel="givens (area: number of puzzles)", ylabel="confirmed, %", ylim=(-4, 104))
    axis.legend(frameon=False, fontsize=8)
    return figure


class _Board:
    """A puzzle, what was answered, and what is right, as tokens."""

    def __init__(
        self, name: str, shape: tuple[int, int], tokens: Any, answer: Any, right: Any
    ) -> None:
        self.name, self.shape = name, shape
        self.tokens, self.answer, self.right = tokens, answer, right


def _choose(
    sets: dict[str, Examples], accuracies: dict[str, Accuracy], confirmed: bool
) -> list[_Board]:
    """A few puzzles: one of each set in turn."""
    found: list[list[_Board]] = []
    for name, one in accuracies.items():
        rows: npt.NDArray[np.intp] = np.flatnonzero(one.confirmed == confirmed)[:_PICTURED]
        data = sets[name]
        found.append(
            [
                _Board(name, data.shape, data.tokens[r], one.answers[r], data.answers[r])
                for r in rows
            ]
        )
    turns = [
        board for turn in range(_PICTURED) for some in found for board in some[turn : turn + 1]
    ]
    return turns[:_PICTURED]


def _boards(boards: Sequence[_Board], domain: Domain) -> Figure:
    from trm_sdk.render.image import draw_picture

    figure, axes = _figure(len(boards), 3.6, 4.0)
    for axis, board in zip(axes, boards, strict=True):
        right = board.answer == board.right
        wrong = int((~right).sum())
        axis.set_title(
            f"{board.name}: {'right' if not wrong else f'{wrong} cells wrong'}", size=9, pad=6
        )
        answer = domain.decode(board.answer, board.shape)
        picture = domain.picture(
            domain.decode_task(board.tokens, board.shape),
            answer,
            certainty=right.reshape(answer.shape),
        )
        axis.imshow(draw_picture(picture, max(8, 480 // max(answer.shape))))
        axis.axis("off")
    return figure
