"""Snapshots vote on what an input becomes, by how many demonstrations they reproduce."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trm_sdk.adapt.network import Network, Workspace
from trm_sdk.adapt.nodes import Coding
from trm_sdk.adapt.threads import one_thread
from trm_sdk.adapt.training import Snapshot
from trm_sdk.grid import Grid

#: Weight of a vote of a snapshot that reproduces nothing; one that reproduces all has 1 more.
_LEAST = 0.02


@dataclass
class Tally:
    """What the votes for one answer add up to.

    Attributes
    ----------
    grid : Grid
    votes : int
        Read-outs that gave it: snapshots times depths.
    weight : float
    share : float
        Of the weight of all answers to this input, 0..1.
    accuracy : float
        Highest share of demonstrations that a snapshot reproduces which gave it, at that depth.
    """

    grid: Grid
    votes: int = 0
    weight: float = 0.0
    share: float = 0.0
    accuracy: float = 0.0


def vote_weight(accuracy: float, progress: float) -> float:
    """Return the weight of a vote.

    Parameters
    ----------
    accuracy : float
        Share of the demonstrations that are reproduced, 0..1.
    progress : float
        Share of the run's budget spent, 0..1; settles what accuracy leaves open.
    """
    return float((_LEAST + accuracy**2) * (0.5 + 0.5 * progress))


def tally(
    coding: Coding, snapshots: Sequence[Snapshot], inputs: Sequence[Grid], depths: tuple[int, ...]
) -> list[list[Tally]]:
    """Return for each input the answers of all snapshots, the one with the most weight first.

    Parameters
    ----------
    coding : Coding
    snapshots : sequence of Snapshot
    inputs : sequence of Grid
    depths : tuple of int
        At which `Snapshot.accuracy` was measured.

    Raises
    ------
    InvalidInputError
        If an input has a colour that the task has not, or a size that the rule has no answer for.
    """
    return [rank(snapshots, answers) for answers in read_out(coding, snapshots, inputs, depths)]


def read_out(
    coding: Coding, snapshots: Sequence[Snapshot], inputs: Sequence[Grid], depths: tuple[int, ...]
) -> list[list[tuple[Grid, ...]]]:
    """Return for each input what each snapshot answers after each of the depths; see `tally`."""
    found: list[list[tuple[Grid, ...]]] = []
    batches = [coding.batch([grid]) for grid in inputs]
    with one_thread():
        for batch in batches:
            work = Workspace(batch, 3)
            found.append(
                [
                    tuple(
                        coding.grids(batch, logits)[0]
                        for logits in Network(snapshot.weights).run(batch, work, depths)
                    )
                    for snapshot in snapshots
                ]
            )
    return found


def rank(snapshots: Sequence[Snapshot], answers: Sequence[tuple[Grid, ...]]) -> list[Tally]:
    """Return the answers to one input by weight, the one with the most first.

    Parameters
    ----------
    snapshots : sequence of Snapshot
    answers : sequence of tuple of Grid
        Of each snapshot, after each depth.
    """
    entries: dict[Grid, Tally] = {}
    for snapshot, several in zip(snapshots, answers, strict=True):
        for grid, accuracy in zip(several, snapshot.accuracy, strict=True):
            entry = entries.setdefault(grid, Tally(grid))
            entry.votes += 1
            entry.weight += vote_weight(accuracy, snapshot.progress)
            entry.accuracy = max(entry.accuracy, accuracy)
    total = sum(entry.weight for entry in entries.values())
    for entry in entries.values():
        entry.share = entry.weight / total
    return sorted(entries.values(), key=lambda one: -one.weight)


__all__ = ["Tally", "rank", "read_out", "tally", "vote_weight"]
