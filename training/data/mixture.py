"""A mixture of sources for one domain: generated and filed puzzles, on a schedule."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from trm_sdk.domains import Domain, get_domain
from trm_sdk.domains import data as domain_data
from trm_sdk.domains.base import Shape
from trm_sdk.domains.data import HELD_OUT_SEED, Examples
from trm_sdk.errors import ConfigError

from ..recipe import Recipe, check_shapes, parted_options
from ..settings import DataSet, DataSource, OfDomain, Prepared, PuzzleFile, Source
from .files import FileSource, read_csv
from .prepared import PreparedPuzzles, PreparedSource, Prints

#: Examples made at once: enough to spread the cost of a call, few enough to follow a curriculum.
_CHUNK = 64
#: Chunks in a row without an example that may be used, after which a source is given up. There are
#: only 36 minimal 4x4 puzzles up to symmetry: a source can be held out as a whole.
_FRUITLESS = 100

Ints = npt.NDArray[np.int64]


class Stream(Protocol):
    """An endless source of training examples."""

    def draw(self, n: int, progress: float) -> Examples:
        """Return the next n examples; `progress` in 0..1 is how much of the run is done."""
        ...

    def shape_at(self, progress: float) -> Shape:
        """Return the shape of the boards that are drawn at this point of the run."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return all that the next draws depend on."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        ...


def weights_at(sources: Sequence[Source], progress: float) -> npt.NDArray[np.float64]:
    """Return the probabilities of the sources at this point of the run.

    Raises
    ------
    ConfigError
        If none is in use there.
    """
    weights: npt.NDArray[np.float64] = np.array(
        [source.weight * (source.start <= progress <= source.end) for source in sources]
    )
    if not weights.any():
        raise ConfigError(f"no data source covers {progress:.0%} of the run")
    weights /= weights.sum()
    return weights


class Mixture:
    """Draws from several sources by their weights at this point of the run.

    Every source has a seed of its own, and its state is saved: resuming is exact.

    Parameters
    ----------
    sources : sequence of DataSource
        Of the recipe.
    domain : Domain
    seed : int or SeedSequence
    held_out : iterable of Examples
        Puzzles that are never drawn, by `Domain.fingerprint`.
    batch : int
        Examples that are drawn at once of a data set, which may part with some where a draw ends.
        Default 64.

    Raises
    ------
    ConfigError
        If sources that are in use at the same time draw boards of different shapes.
    """

    def __init__(
        self,
        sources: Sequence[DataSource],
        domain: Domain,
        seed: int | np.random.SeedSequence,
        held_out: Iterable[Examples],
        batch: int = _CHUNK,
    ) -> None:
        self.domain, self.sources = domain, sources
        if not isinstance(seed, np.random.SeedSequence):
            seed = np.random.SeedSequence(seed)
        seeds = seed.spawn(len(sources) + 1)
        self.rng = np.random.default_rng(seeds[0])
        held = list(held_out)
        makers = [source_domain(source, domain) for source in sources]
        prints: dict[str, Prints] = {}

        def excluded(made_by: Domain) -> Prints:
            """Return what is held out, by a domain's own fingerprints; computed once."""
            if made_by.name not in prints:
                prints[made_by.name] = _prints(made_by, held)
            return prints[made_by.name]

        self.excluded = excluded(domain)
        self.parts = [
            _Part(source, domain, int(own.generate_state(1)[0]), excluded, batch)
            for source, own in zip(sources, seeds[1:], strict=True)
        ]
        #: Groups of each weights key that every example says, where the sources' domains differ:
        #: as many as any of them has, for slots of a batch are of one form.
        self.groups: dict[str, int] = {}
        prepared = [part.prepared.groups for part in self.parts if part.prepared is not None]
        if any(part.domain is not domain for part in self.parts) or any(prepared):
            stated = [(key, len(sets)) for one in makers for key, sets in _stated(one).items()]
            stated += [(key, sets.shape[1]) for one in prepared for key, sets in one.items()]
            for key, count in stated:
                self.groups[key] = max(self.groups.get(key, 0), count)
        #: Examples dropped because they are held out; of files, once each.
        self.dropped = sum(part.dropped for part in self.parts)
        self.shapes = [part.source.shape for part in self.parts]
        check_shapes(sources, dict(enumerate(self.shapes)))

    def fitted(self, examples: Examples, made_by: Domain | None = None) -> Examples:
        """Return examples with groups in the form that all sources have in common.

        Parameters
        ----------
        examples : Examples
        made_by : Domain, optional
            That made them. Default: the mixture's own.
        """
        return (
            with_groups(examples, made_by or self.domain, self.groups) if self.groups else examples
        )

    def shape_at(self, progress: float) -> Shape:
        """Return the shape of the boards that are drawn at this point of the run."""
        active = np.flatnonzero(weights_at(self.sources, progress)).tolist()
        # Where one shape gives way to another, sources of both are in use: the new one counts.
        return self.shapes[max(active, key=lambda number: self.sources[number].start)]

    def _weights_at(self, progress: float) -> npt.NDArray[np.float64]:
        """Probabilities of the sources whose boards have the shape of this point of the run."""
        weights = weights_at(self.sources, progress)
        shape = self.shape_at(progress)
        if any(one != shape for one in self.shapes):
            weights *= [one == shape for one in self.shapes]
            weights /= weights.sum()
        return weights

    def draw(self, n: int, progress: float) -> Examples:
        """Return the next n examples of the sources that are in use at this point of the run."""
        drawn = self._drawn(n, progress)
        order = np.argsort(np.concatenate([rows for _, rows, _ in drawn]))
        return Examples.concatenate([some for _, _, some in drawn]).rows(order)

    def draw_by_domain(self, n: int, progress: float) -> list[tuple[str, Examples]]:
        """Return the next n examples, those of each source with the name of its domain."""
        return [(domain.name, some) for domain, _, some in self._drawn(n, progress)]

    def _drawn(self, n: int, progress: float) -> list[tuple[Domain, Ints, Examples]]:
        """The next n examples by source: its domain, their places in the draw, and themselves."""
        chosen = self.rng.choice(len(self.parts), size=n, p=self._weights_at(progress))
        drawn = []
        for number, part in enumerate(self.parts):
            rows = np.flatnonzero(chosen == number)
            if len(rows):
                some = self._take(number, part, len(rows))
                drawn.append((part.domain, rows, self.fitted(some, part.domain)))
        return drawn

    def _take(self, number: int, part: _Part, n: int) -> Examples:
        fruitless = 0
        while part.waiting < n:
            before = part.waiting
            self.dropped += part.fill()
            fruitless = 0 if part.waiting > before else fruitless + 1
            if fruitless == _FRUITLESS:
                raise ConfigError(
                    f"data source {number + 1} gives only puzzles that are held out: "
                    f"{self.sources[number]!r}"
                )
        return part.take(n)

    def state_dict(self) -> dict[str, Any]:
        """Return random state, counters, waiting examples and the sources' own states."""
        return {
            "rng": self.rng.bit_generator.state,
            "dropped": self.dropped,
            "parts": [part.state_dict() for part in self.parts],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self.dropped = state["dropped"]
        if "rng" in state:
            self.rng.bit_generator.state = state["rng"]
        for part, saved in zip(self.parts, state["parts"], strict=True):
            part.load_state_dict(saved)


def source_domain(source: DataSource, domain: Domain) -> Domain:
    """Return the domain whose puzzles a source draws: the recipe's, or another that it names."""
    return source.made_by(domain) if isinstance(source, OfDomain) else domain


def _prints(domain: Domain, held_out: Sequence[Examples]) -> Prints:
    """Fingerprints of what is held out."""
    prints = [domain.fingerprint(one.tokens, one.shape) for one in held_out]
    return np.unique(np.concatenate(prints)) if prints else np.empty(0, np.uint64)


def with_groups(
    examples: Examples, domain: Domain, least: Mapping[str, int] | None = None
) -> Examples:
    """Return examples that say the groups of each puzzle, also where these are the structure's.

    Parameters
    ----------
    examples : Examples
    domain : Domain
        That made them.
    least : mapping from weights key to int, optional
        Groups to pad to, with rows of zeros; keys that the domain lacks get such rows alone.
    """
    n, cells = examples.tokens.shape
    found = {key: np.repeat(one[None], n, axis=0) for key, one in _stated(domain).items()}
    found |= examples.groups or {}
    for key, count in (least or {}).items():
        one = found.get(key, np.zeros((n, 0, cells), np.uint8))
        found[key] = np.pad(one, ((0, 0), (0, max(count - one.shape[1], 0)), (0, 0)))
    return examples._replace(groups=found)


def _stated(domain: Domain) -> dict[str, npt.NDArray[np.uint8]]:
    """Groups of a domain's structure."""
    return {} if domain.structure is None else domain.structure.memberships()


class _Part:
    """One source of a mixture, and what it has made that has not been drawn yet."""

    def __init__(
        self,
        source: DataSource,
        domain: Domain,
        seed: int,
        excluded: Callable[[Domain], Prints],
        batch: int,
    ) -> None:
        self.domain = source_domain(source, domain)
        self.excluded = excluded(self.domain)
        self.chunk = batch if isinstance(source, DataSet) else _CHUNK
        self.source: domain_data.Source
        self.prepared: PreparedPuzzles | None = None
        self.dropped = 0
        if isinstance(source, PuzzleFile):
            self.source = FileSource(source, domain, seed, self.excluded)
            self.dropped = self.source.dropped
        elif isinstance(source, Prepared):
            self.source = PreparedSource(source.path, domain, seed, excluded)
            self.dropped, self.prepared = self.source.dropped, self.source.puzzles
            self.excluded = self.excluded[:0]  # the source leaves them out, once and for all
        else:
            self.source = self.domain.source(source.options, seed)
        self.ready: Examples | None = None

    @property
    def waiting(self) -> int:
        """Number of examples that can be taken at once."""
        return 0 if self.ready is None else len(self.ready.tokens)

    def fill(self) -> int:
        """Have the source make a chunk, keep what is not held out, and return what was dropped."""
        made = self.source.draw(self.chunk)
        kept = made
        if len(self.excluded):  # else no fingerprints, which need a generator's engine
            held = np.isin(self.domain.fingerprint(made.tokens, made.shape), self.excluded)
            kept = made.rows(~held)
        self.ready = kept if self.ready is None else Examples.concatenate([self.ready, kept])
        return len(made.tokens) - len(kept.tokens)

    def take(self, n: int) -> Examples:
        """Return the n examples that have waited longest."""
        assert self.ready is not None  # `fill` came before
        taken, self.ready = self.ready.rows(slice(n)), self.ready.rows(slice(n, None))
        return taken

    def state_dict(self) -> dict[str, Any]:
        """Return the source's state and the waiting examples."""
        ready = None if self.ready is None else list(self.ready[:4])
        groups = None if self.ready is None or self.ready.groups is None else self.ready.groups
        return {
            "source": self.source.state_dict(),
            "ready": ready,
            **({} if groups is None else {"groups": dict(groups)}),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        if "source" not in state:  # a checkpoint of an earlier version: its pools are kept
            self.source.load_state_dict(state)
            self.ready = None
            return
        self.source.load_state_dict(state["source"])
        ready = state["ready"]
        self.ready = None
        if ready is not None:
            tokens, answers, identifiers, mask = ready
            groups = state.get("groups")
            self.ready = Examples(tokens, answers, identifiers, mask, self.source.shape, groups)


def make_stream(
    recipe: Recipe,
    domain: Domain,
    held_out: Mapping[str, Examples],
    seed: int | np.random.SeedSequence,
) -> Mixture:
    """Return the stream that a recipe describes, without anything that is in `held_out`.

    Raises
    ------
    ConfigError
        If it asks for generated puzzles of a domain that has no generator, for data sets of one
        that has none, or for dead ends where none are learned of.
    """
    kinds = {one.kind for one in recipe.data}
    if "generated" in kinds and not domain.has_generator:
        other = "a data set ({kind: dataset, ...})" if domain.has_data_sets else "files"
        raise ConfigError(
            f"data: puzzles of {domain.name!r} can't be generated; give {other} "
            "({kind: file, path: PUZZLES.csv})"
        )
    if "dataset" in kinds and not domain.has_data_sets:
        raise ConfigError(
            f"data: {domain.name!r} has no data set format of its own; give files "
            "({kind: file, path: PUZZLES.csv})"
        )
    mixture = Mixture(recipe.data, domain, seed, held_out.values(), recipe.batch_size)
    for number, (shape, part) in enumerate(zip(mixture.shapes, mixture.parts, strict=True)):
        recipe.check_board(domain, shape, f"data.{number}")
        prepared = part.prepared
        if not recipe.objective.dead_ends and prepared is not None:
            wrong = int(prepared.dead_ends(domain).sum())
            if wrong:
                raise ConfigError(
                    f"data.{number}: {wrong:,} puzzles of the file hold a given that their answer "
                    "has not; only a model that learns of dead ends takes such "
                    "(objective.dead_ends above 0)"
                )
    return mixture


def make_held_out(recipe: Recipe, domain: Domain) -> dict[str, Examples]:
    """Return the recipe's evaluation sets, as they are measured at the end of the run.

    Raises
    ------
    ConfigError
        If there is nothing to evaluate on.
    """
    evaluation = recipe.evaluation
    generated = evaluation.sets
    sets = {}
    if generated is None:
        generated = {"generated": {}} if domain.has_generator else {}
        sets = _held_out_by_data(recipe, domain)
    # A data set may have no answers beyond those that are trained on, and where puzzles were
    # prepared there may be no generator: then nothing is measured.
    from_data = any(isinstance(one, DataSet | Prepared) for one in recipe.data)
    if not (generated or sets or evaluation.files or from_data):
        raise ConfigError(
            f"evaluation.files: puzzles of {domain.name!r} can't be generated; name a file to "
            "evaluate on ({SET: PUZZLES.csv})"
        )
    for name, options in generated.items():
        sets[name] = _generated(domain, 10 * evaluation.puzzles, options)
    for name, path in evaluation.files.items():
        sets[name] = domain.encode_examples(read_csv(path, domain))
        recipe.check_board(domain, sets[name].shape, f"evaluation.files.{name}")
    return sets


def _generated(domain: Domain, n: int, options: Any) -> Examples:
    """Held-out puzzles of a generated set."""
    name, rest = parted_options(options)
    if name is None:
        return domain.examples(n, HELD_OUT_SEED, rest)
    made_by = get_domain(name)
    return with_groups(made_by.examples(n, HELD_OUT_SEED, rest), made_by)


def _held_out_by_data(recipe: Recipe, domain: Domain) -> dict[str, Examples]:
    """What the recipe's data sets hold out: ``held-out``, or ``held-out-N`` of data source N."""
    data_sets = [n for n, one in enumerate(recipe.data) if isinstance(one, DataSet)]
    found = {}
    for number in data_sets:
        source = recipe.data[number]
        assert isinstance(source, DataSet)
        examples = domain.held_out(source.options)
        if examples is not None:
            found["held-out" if len(data_sets) == 1 else f"held-out-{number}"] = examples
    return found


def during_the_run(recipe: Recipe, sets: Mapping[str, Examples]) -> dict[str, Examples]:
    """Return the first puzzles of the generated sets, or of the files where none is generated."""
    files, most = recipe.evaluation.files, recipe.evaluation.puzzles
    chosen = {name: one for name, one in sets.items() if name not in files} or sets
    return {name: one.rows(slice(most)) for name, one in chosen.items()}
