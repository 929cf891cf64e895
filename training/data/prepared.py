"""Puzzles that were drawn ahead of training, in one file: what `training.prepare` writes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from trm_sdk.array_files import read_arrays
from trm_sdk.atomic import writing_whole
from trm_sdk.domains import Domain, get_domain
from trm_sdk.domains.data import Examples, padded_groups
from trm_sdk.errors import ConfigError, TRMError

from .dead_ends import are_dead_ends

#: Fingerprints of puzzles, `Domain.fingerprint`.
Prints = npt.NDArray[np.uint64]

#: What the names of a file's group arrays begin with; the weights key follows.
_GROUPS = "groups."
_NOT_ONE = "is not a file of python -m training.prepare"


class PreparedPuzzles(NamedTuple):
    """The contents of a file.

    Attributes
    ----------
    tokens, answers : uint8 or uint16 arrays of shape (n, N)
        Tokens of the domain that is trained.
    mask : bool array of shape (n, N)
        Cells whose answer counts; the others are padding.
    shape : (rows, columns)
        Of all boards.
    domains : tuple of str
        The domains that made the puzzles; the first is the one that is trained.
    made_by : uint8 array of shape (n,)
        Which of them made each puzzle.
    groups : mapping from weights key to bool array of shape (sets, groups, N)
        The different groups that puzzles come with. Empty: those that the structure states.
    which : int32 array of shape (n,)
        Each puzzle's set of groups.
    """

    tokens: npt.NDArray[Any]
    answers: npt.NDArray[Any]
    mask: npt.NDArray[np.bool_]
    shape: tuple[int, int]
    domains: tuple[str, ...]
    made_by: npt.NDArray[np.uint8]
    groups: Mapping[str, npt.NDArray[np.bool_]]
    which: npt.NDArray[np.int32]

    @classmethod
    def of(cls, drawn: Iterable[tuple[str, Examples]], trained: str) -> PreparedPuzzles:
        """Gather examples with the names of the domains that made them.

        Boards must be of one shape, and all or none must have groups, of the same keys.
        """
        parts = list(drawn)
        domains = tuple(dict.fromkeys((trained, *(name for name, _ in parts))))
        every = [examples for _, examples in parts]
        numbers = [np.full(len(one.tokens), domains.index(name)) for name, one in parts]
        widest = max(int(max(one.tokens.max(), one.answers.max())) for one in every)
        small = np.uint8 if widest < 256 else np.uint16
        found: dict[str, npt.NDArray[np.bool_]] = {}
        which = np.zeros(sum(map(len, numbers)), np.int32)
        if every[0].groups:
            keys = list(every[0].groups)
            whole = {
                key: padded_groups([one.groups[key] for one in every if one.groups]) for key in keys
            }
            flat = [np.packbits(whole[key].reshape(len(which), -1), axis=1) for key in keys]
            rows = np.concatenate(flat, axis=1)
            _, first, back = np.unique(rows, axis=0, return_index=True, return_inverse=True)
            which = back.reshape(-1).astype(np.int32)
            found = {key: whole[key][first].astype(bool) for key in keys}
        return cls(
            np.concatenate([one.tokens for one in every]).astype(small),
            np.concatenate([one.answers for one in every]).astype(small),
            np.concatenate([one.mask for one in every]),
            every[0].shape,
            domains,
            np.concatenate(numbers).astype(np.uint8),
            found,
            which,
        )

    def write(self, path: Path) -> None:
        """Write a file, whole or not at all.

        Raises
        ------
        OSError
            If it can't be written.
        """
        arrays = {
            "tokens": self.tokens,
            "answers": self.answers,
            "mask": np.packbits(self.mask, axis=1),
            "shape": np.array(self.shape),
            "domains": np.array(self.domains),
            "made_by": self.made_by,
            "which": self.which,
            **{_GROUPS + key: np.packbits(one, axis=2) for key, one in self.groups.items()},
        }
        with writing_whole(path) as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]

    @classmethod
    def read(cls, path: str | Path, domain: Domain) -> PreparedPuzzles:
        """Read a file, and check that its puzzles are of a domain.

        Raises
        ------
        ConfigError
            If it can't be read, was prepared for another domain, or holds what no puzzle has.
        """
        try:
            found = read_arrays(Path(path))
            shape = tuple(int(side) for side in found["shape"])
            cells = shape[0] * shape[1]
            n = len(found["tokens"])
            puzzles = cls(
                found["tokens"],
                found["answers"],
                np.unpackbits(found["mask"], axis=1, count=cells).astype(bool),
                (shape[0], shape[1]),
                tuple(str(name) for name in found["domains"]),
                found["made_by"],
                {
                    name.removeprefix(_GROUPS): np.unpackbits(one, axis=2, count=cells).astype(bool)
                    for name, one in found.items()
                    if name.startswith(_GROUPS)
                },
                found["which"],
            )
            sets = min((len(one) for one in puzzles.groups.values()), default=1)
            well = (
                n > 0
                and puzzles.tokens.shape == puzzles.answers.shape == puzzles.mask.shape
                and puzzles.tokens.shape == (n, cells)
                and all(one.dtype.kind == "u" for one in (puzzles.tokens, puzzles.answers))
                and puzzles.made_by.shape == puzzles.which.shape == (n,)
                and int(puzzles.made_by.max()) < len(puzzles.domains)
                and 0 <= int(puzzles.which.min()) <= int(puzzles.which.max()) < sets
            )
        except FileNotFoundError:
            raise ConfigError(
                f"there is no file {path}; python -m training.prepare writes one"
            ) from None
        except OSError as error:
            raise ConfigError(f"{path} can't be read: {error.strerror or error}") from None
        except (ValueError, KeyError, IndexError, TypeError, OverflowError):
            raise ConfigError(f"{path} {_NOT_ONE}") from None
        if not well:
            raise ConfigError(f"{path} {_NOT_ONE}")
        puzzles._check(path, domain)
        return puzzles

    def _check(self, path: str | Path, domain: Domain) -> None:
        if self.domains[0] != domain.name:
            raise ConfigError(
                f"{path} was prepared for {self.domains[0]!r}; the recipe trains {domain.name!r}"
            )
        most = int(max(self.tokens.max(), self.answers.max()))
        if most >= len(domain.vocabulary):
            raise ConfigError(
                f"{path} holds the token {most}; {domain.name} has tokens 0 to "
                f"{len(domain.vocabulary) - 1}"
            )
        if not domain.any_size and self.shape != domain.shape:
            raise ConfigError(
                f"{path} has boards of {self.shape[0]}x{self.shape[1]}; {domain.name} has "
                f"{domain.shape[0]}x{domain.shape[1]}"
            )

    def dead_ends(self, domain: Domain) -> npt.NDArray[np.bool_]:
        """Return which puzzles have a given that their answer has not, of shape (n,)."""
        return are_dead_ends(self.tokens, self.answers, domain.vocabulary.given_tokens)

    def filled(
        self, tokens: npt.NDArray[np.integer[Any]], rows: npt.NDArray[np.int64]
    ) -> PreparedPuzzles:
        """Return the puzzles of some rows with other tokens: more of each filled in."""
        return self._replace(
            tokens=tokens.astype(self.tokens.dtype),
            answers=self.answers[rows],
            mask=self.mask[rows],
            made_by=self.made_by[rows],
            which=self.which[rows],
        )

    def examples(self, index: npt.NDArray[np.int64]) -> Examples:
        """Return the puzzles of an index array."""
        groups = None
        if self.groups:
            sets = self.which[index]
            groups = {key: one[sets].astype(np.uint8) for key, one in self.groups.items()}
        return Examples(
            self.tokens[index].astype(np.int32),
            self.answers[index].astype(np.int32),
            np.zeros(len(index), np.int32),
            self.mask[index],
            self.shape,
            groups,
        )


class PreparedSource:
    """The puzzles of a file, forever: each once in a random order, then each in another.

    Parameters
    ----------
    path : str
    domain : Domain
        That is trained.
    seed : int
    excluded : callable
        Returns the fingerprints of what is never drawn, as a domain takes them: each puzzle of the
        file is judged by those of the domain that made it.

    Raises
    ------
    ConfigError
        If the file can't be read, is of another domain, or all of its puzzles are held out.
    """

    def __init__(
        self, path: str, domain: Domain, seed: int, excluded: Callable[[Domain], Prints]
    ) -> None:
        self.seed = seed
        self.puzzles = PreparedPuzzles.read(path, domain)
        self.shape = self.puzzles.shape
        kept = np.ones(len(self.puzzles.tokens), bool)
        for number, name in enumerate(self.puzzles.domains):
            rows = np.flatnonzero(self.puzzles.made_by == number)
            if not len(rows):
                continue
            maker = domain if name == domain.name else _maker(path, name, domain, self.shape)
            prints = excluded(maker)
            if len(prints):  # else no fingerprints, which need a generator's engine
                tokens = self.puzzles.tokens[rows].astype(np.int32)
                kept[rows] = ~np.isin(maker.fingerprint(tokens, self.shape), prints)
        if not kept.any():
            raise ConfigError(f"{path}: all of its puzzles are held out for evaluation")
        self.kept = np.flatnonzero(kept)
        #: Puzzles of the file that are left out because they are held out.
        self.dropped = int((~kept).sum())
        self.made = 0
        self._order, self._round = self.kept, -1

    def draw(self, n: int) -> Examples:
        """Return the next n examples."""
        places = np.arange(self.made, self.made + n)
        self.made += n
        rounds, within = np.divmod(places, len(self.kept))
        chosen = np.concatenate(
            [self._order_of(int(one))[within[rounds == one]] for one in np.unique(rounds)]
        )
        return self.puzzles.examples(chosen)

    def _order_of(self, number: int) -> npt.NDArray[np.int64]:
        """Return the order in which all puzzles are drawn for the n-th time."""
        if number != self._round:
            rng = np.random.default_rng((self.seed, number))
            self._order, self._round = rng.permutation(self.kept), number
        return self._order

    def state_dict(self) -> dict[str, Any]:
        """Return how many have been drawn: the orders follow from the seed."""
        return {"made": self.made}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self.made = int(state["made"])


def _maker(path: str, name: str, domain: Domain, shape: tuple[int, int]) -> Domain:
    """Return the domain of a name in a file, whose puzzles must fit the one that is trained."""
    try:
        maker = get_domain(name)
    except TRMError as error:
        raise ConfigError(f"{path}: {error}") from None
    if maker.vocabulary != domain.vocabulary or not (maker.any_size or maker.shape == shape):
        raise ConfigError(f"{path}: puzzles of {name} are not such as {domain.name} has")
    return maker


__all__ = ["PreparedPuzzles", "PreparedSource", "Prints"]
