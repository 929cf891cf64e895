"""Deep supervision with a carried state, and last-step supervision: the slots and their schedules.

The loss itself is in `trm_sdk.model.supervision`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trm_sdk.domains.data import Examples, Targets
from trm_sdk.model.recursion import TRM, State
from trm_sdk.model.supervision import Outcome, Puzzles

from .data.dead_ends import guesses_on, with_dead_ends
from .data.mixture import Mixture, Stream
from .distributed import World
from .settings import Objective

Ints = npt.NDArray[np.int64]
#: What a domain asks at which step, `Domain.targets`.
TargetsOf = Callable[[Examples], Targets | None]


def last_due(examples: Examples, targets: Targets | None) -> Ints:
    """Return the passes over z after which everything about a puzzle is due; 0 without targets."""
    if targets is None:
        return np.zeros(len(examples.tokens), np.int64)
    due = [np.where(examples.mask, targets.answer_due, 0)]
    due += [np.where(head.mask, head.due, 0) for head in targets.heads.values()]
    latest: Ints = np.max(due, axis=(0, 2)).astype(np.int64)
    return latest


class Carry:
    """Slots of puzzles that are being refined, each with its state and age.

    Deep supervision (paper, section 2): every optimiser step moves each slot on by `grad_steps`
    supervision steps, and the state is carried over, detached, until the puzzle leaves its slot.
    With ``last-step`` every puzzle leaves at once.

    The slots are empty until `begin` or `load_state_dict`. Where the schedule of the data goes over
    to boards of another shape, all slots are filled anew.

    In a distributed run every process draws all puzzles and decides about all slots, alike, and
    holds the states of its own rows alone: the run is the same whatever the number of processes.

    Parameters
    ----------
    model : TRM
    objective : Objective
    stream : Stream
    batch_size : int
        Of all processes together.
    seed : int or SeedSequence
    world : World, optional
        Default: this process alone.
    dtype : torch.dtype
        Of the states.
    targets : callable, optional
        `Domain.targets`. Default: the answer is asked, at every step.
    """

    puzzles: Puzzles

    def __init__(
        self,
        model: TRM,
        objective: Objective,
        stream: Stream,
        batch_size: int,
        seed: int | np.random.SeedSequence,
        world: World | None = None,
        dtype: torch.dtype = torch.float32,
        targets: TargetsOf | None = None,
    ) -> None:
        self.config, self.objective, self.stream = model.config, objective, stream
        self.world = world or World()
        self.targets = targets or (lambda examples: None)
        self.rng = np.random.default_rng(seed)
        #: Most supervision steps of a puzzle at present, and passes over z in each; a curriculum
        #: changes them.
        self.max_steps = objective.max_steps
        self.passes_per_step = model.config.H_cycles * model.config.L_cycles
        self.mine = self.world.rows(batch_size)
        self.device, self.dtype = next(model.parameters()).device, dtype
        self.slots = batch_size
        self._empty(stream.shape_at(0.0))
        self.forget_finished()

    def _empty(self, shape: tuple[int, int]) -> None:
        """Make the slots fit boards of a shape, without puzzles."""
        self.shape = shape
        own = (self.mine.stop - self.mine.start, *self.config.state_shape_of(shape))
        self.y, self.z = (torch.zeros(own, device=self.device, dtype=self.dtype) for _ in range(2))
        self.fresh = torch.ones(self.slots, dtype=torch.bool, device=self.device)
        #: Supervision steps, and passes over z, that each puzzle has had.
        self.age, self.passes, self.limit = (np.zeros(self.slots, np.int64) for _ in range(3))
        #: Puzzles that have been solved, and those that were then chosen for a long stay.
        self.met, self.staying = (np.zeros(self.slots, bool) for _ in range(2))

    def forget_finished(self) -> None:
        """Begin anew to count the puzzles that leave their slots."""
        #: Puzzles that could be solved and have left, and how many of those were.
        self.finished = self.finished_solved = 0
        #: Puzzles that have left with a verdict of the dead-end head, and how many rightly so.
        self.judged = self.judged_rightly = 0

    @property
    def solved_share(self) -> float:
        """Share of the puzzles that have left their slots which were solved; of dead ends none."""
        return self.finished_solved / max(self.finished, 1)

    @property
    def judged_share(self) -> float | None:
        """Share of the dead-end head's last words that were right; None without such a head."""
        return self.judged_rightly / max(self.judged, 1) if self.objective.dead_ends else None

    def begin(self, progress: float) -> None:
        """Put a new puzzle into every slot; `progress` in 0..1 is how much of the run is done."""
        self._empty(self.stream.shape_at(progress))
        self.puzzles, due = self._draw(self.slots, progress)
        self.limit = self._limits(due)

    def _draw(self, n: int, progress: float) -> tuple[Puzzles, Ints]:
        """New puzzles with what is asked of them, and the pass by which all of it is due."""
        examples, dead = self.stream.draw(n, progress), None
        if self.objective.dead_ends:
            share = self.objective.dead_ends
            examples, dead = with_dead_ends(examples, self.config, share, self.rng)
        targets = self.targets(examples)
        puzzles = Puzzles.of(examples, self.config, targets, self.device, dead)
        return puzzles, last_due(examples, targets)

    def _limits(self, due: Ints) -> Ints:
        """Ages at which new puzzles leave at the latest, counted from when all of them is due."""
        steps = -(-due // self.passes_per_step)
        if self.objective.scheme == "deep" and self.objective.refill == "solved":
            least, most = self.objective.min_steps, self.max_steps
            return steps + self.rng.integers(least, most + 1, size=len(due))
        return steps + self.max_steps

    def _least(self, n: int) -> Ints:
        """Ages that n puzzles must reach before the halting head may end them (exploration)."""
        explored = self.rng.random(n) < self.objective.exploration
        return explored * self.rng.integers(2, max(self.max_steps, 2) + 1, size=n)

    def history(self) -> int:
        """Return how many supervision steps run without gradient before the differentiated ones."""
        if self.objective.scheme == "deep":
            return 0
        steps = int(self.rng.integers(self.objective.min_steps, self.max_steps + 1))
        return steps - self.objective.grad_steps

    def extra_cycle(self) -> bool:
        """Return whether this optimiser step differentiates one more cycle."""
        chance = self.objective.extra_cycle
        return bool(chance) and float(self.rng.random()) < chance

    def passes_before(self, history: int) -> Tensor:
        """Return the passes over z before the differentiated steps, int32, of this process's rows.

        `history` supervision steps come in between.
        """
        passes = self.passes[self.mine] + history * self.passes_per_step
        return torch.from_numpy(passes.astype(np.int32)).to(self.device)

    def advance(self, outcome: Outcome, progress: float) -> None:
        """Take over the new states; put new puzzles where one is done."""
        self.y, self.z = outcome.state
        found = [outcome.solved.float(), (outcome.halt_logit > 0).float()]
        if outcome.dead_end_logit is not None:
            found.append((outcome.dead_end_logit > 0).float())
        verdicts = self.world.gather(torch.stack(found, 1)).cpu().numpy() > 0.5
        solved, halted = verdicts.T[:2]
        self.age += self.objective.grad_steps
        self.passes += self.objective.grad_steps * self.passes_per_step
        done = self._done(solved, halted)
        if self.objective.guesses:
            done &= ~self._guess(done & ~solved, outcome.logits)
        self._count(done, verdicts)
        if self.stream.shape_at(progress) != self.shape:
            self.begin(progress)
        else:
            self._refill(done, progress)

    def _count(self, done: npt.NDArray[np.bool_], verdicts: npt.NDArray[np.bool_]) -> None:
        """Count the puzzles that leave; `verdicts`: solved, halted and perhaps a dead end."""
        alive = done
        if self.puzzles.dead is not None:
            dead = self.puzzles.dead.cpu().numpy()
            alive = done & ~dead
            self.judged += int(done.sum())
            self.judged_rightly += int((verdicts[:, 2] == dead)[done].sum())
        self.finished += int(alive.sum())
        self.finished_solved += int(verdicts[alive, 0].sum())

    def _done(self, solved: npt.NDArray[np.bool_], halted: npt.NDArray[np.bool_]) -> Any:
        """Slots whose puzzle leaves, as a bool array."""
        objective = self.objective
        if objective.scheme == "last-step":
            return np.ones(len(solved), dtype=bool)
        if objective.refill == "halting":
            return halted & (self.age >= self._least(len(solved))) | (self.age >= self.limit)
        if objective.long_stay:
            # Drawn once, or the earliest of many draws would end every long stay.
            chosen = solved & ~self.met & (self.rng.random(len(solved)) < objective.long_stay)
            stay = self.rng.integers(0, objective.long_stay_steps + 1, size=len(solved))
            self.limit = np.where(chosen, self.age + stay, self.limit)
            self.met, self.staying = self.met | solved, self.staying | chosen
        linger = self.rng.integers(0, objective.linger + 1, size=len(solved))
        ends = np.minimum(self.limit, self.age + linger)
        self.limit = np.where(solved & ~self.staying, ends, self.limit)
        return self.age >= self.limit

    def _guess(self, failed: npt.NDArray[np.bool_], logits: Tensor) -> npt.NDArray[np.bool_]:
        """Go on with some puzzles that were to leave, with a guess filled in; return which.

        The cell is the one that a search would branch on (`trm_sdk.search.tree`). Its value is
        right in one of two; else, and where one before was wrong, the likeliest that is not.

        Parameters
        ----------
        failed : bool array of shape (slots,)
            Puzzles that leave without having been solved.
        logits : float32 Tensor (rows of this process, N, outputs)
        """
        failed &= self.rng.random(self.slots) < self.objective.guesses
        rightly = self.rng.random(self.slots) < 0.5
        stay = self.rng.integers(1, 3, size=self.slots) * self.objective.min_steps
        made = self._guesses(failed, rightly, logits)
        cell, token = self.world.gather(torch.from_numpy(made).to(self.device)).cpu().T
        guessed: npt.NDArray[np.bool_] = (cell >= 0).numpy()
        rows = torch.from_numpy(np.flatnonzero(guessed))
        cell, token = cell[rows], token[rows]
        puzzles, tokens = self.puzzles, self.puzzles.tokens.clone()
        assert puzzles.dead is not None
        tokens.flatten(1)[rows, cell] = token.to(tokens)
        dead = puzzles.dead.clone()
        dead[rows] |= token.to(dead.device) != puzzles.answers.flatten(1)[rows, cell]
        self.puzzles = puzzles._replace(tokens=tokens, dead=dead)
        self.limit = np.where(guessed, self.age + stay, self.limit)
        return guessed

    def _guesses(
        self, failed: npt.NDArray[np.bool_], rightly: npt.NDArray[np.bool_], logits: Tensor
    ) -> Ints:
        """Return cell and token of a guess for each row of this process, -1 where none is made."""
        made = np.full((len(logits), 2), -1, np.int64)
        rows = np.flatnonzero(failed[self.mine])
        if len(rows):
            index = torch.from_numpy(rows + self.mine.start)
            examples, dead = self._examples(index)
            beliefs = logits[torch.from_numpy(rows)].float().cpu().numpy()
            right = rightly[rows + self.mine.start]
            made[rows] = guesses_on(examples, beliefs, self.config, right, dead)
        return made

    def _examples(self, rows: Tensor) -> tuple[Examples, npt.NDArray[np.bool_]]:
        """Return the puzzles of some slots, and which of them are dead ends."""
        puzzles = self.puzzles
        assert puzzles.dead is not None
        tokens, answers, mask, identifiers, dead = (
            one[rows].cpu().numpy()
            for one in (
                puzzles.tokens.flatten(1),
                puzzles.answers.flatten(1),
                puzzles.mask,
                puzzles.identifiers,
                puzzles.dead,
            )
        )
        groups = {key: one[rows].cpu().numpy() for key, one in (puzzles.groups or {}).items()}
        examples = Examples.of(tokens, answers, self.shape)
        return examples._replace(mask=mask, identifiers=identifiers, groups=groups or None), dead

    def _refill(self, done: npt.NDArray[np.bool_], progress: float) -> None:
        """Put new puzzles into some slots."""
        self.fresh = torch.from_numpy(done).to(self.device)
        if not done.any():
            return
        new, due = self._draw(int(done.sum()), progress)
        rows = torch.from_numpy(np.flatnonzero(done)).to(self.device)
        self.puzzles = self.puzzles.replaced(rows, new)
        self.age[done] = self.passes[done] = 0
        self.met[done] = self.staying[done] = False
        self.limit[done] = self._limits(due)

    def state_dict(self) -> dict[str, Any]:
        """Return all that the next step depends on; to be called by every process together."""
        names = ("tokens", "answers", "identifiers", "mask")
        return {
            "tensors": {
                **{name: getattr(self.puzzles, name) for name in names},
                "fresh": self.fresh,
                **{name: self.world.gather(getattr(self, name)) for name in "yz"},
            },
            "shape": self.shape,
            **({} if self.puzzles.groups is None else {"groups": self.puzzles.groups}),
            **({} if self.puzzles.dead is None else {"dead": self.puzzles.dead}),
            **{name: getattr(self, name) for name in _ARRAYS},
            "finished": (self.finished, self.finished_solved),
            "rng": self.rng.bit_generator.state,
            "stream": self.stream.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken, with any number of processes.

        A travelled checkpoint (see `training.state`) has no slots: `begin` must follow.
        """
        self.rng.bit_generator.state = state["rng"]
        self.stream.load_state_dict(state["stream"])
        if "tensors" not in state:
            return
        self._empty(tuple(state.get("shape", self.shape)))
        tensors = state["tensors"]
        tokens, answers = (tensors[name].flatten(1) for name in ("tokens", "answers"))
        examples = Examples.of(tokens.numpy(), answers.numpy(), self.shape)
        # Checkpoints of earlier versions have neither identifiers nor masks.
        given = {name: tensors[name].numpy() for name in ("identifiers", "mask") if name in tensors}
        groups = {key: one.numpy() for key, one in state.get("groups", {}).items()}
        examples = examples._replace(**given, groups=groups or None)
        if isinstance(self.stream, Mixture):  # of other data sources, perhaps
            examples = self.stream.fitted(examples)
        dead = state["dead"].numpy() if "dead" in state else None
        if dead is None and self.objective.dead_ends:  # of a run that had none until now
            dead = np.zeros(len(examples.tokens), bool)
        targets = self.targets(examples)
        self.puzzles = Puzzles.of(examples, self.config, targets, self.device, dead)
        self.fresh = tensors["fresh"].to(self.device)
        state_of = State(*(tensors[name][self.mine].to(self.y) for name in "yz"))
        self.y, self.z = state_of
        self.passes = state["age"] * self.passes_per_step  # for those without
        for name in _ARRAYS:
            if name in state:
                setattr(self, name, state[name])
        self.finished, self.finished_solved = state["finished"]


#: A number or flag a slot.
_ARRAYS = ("age", "passes", "limit", "met", "staying")
