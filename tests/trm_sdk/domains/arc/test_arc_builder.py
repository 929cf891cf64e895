"""The data set builder, the source of training batches, and the examples for evaluation.

The digests were made by running the reference's algorithm (TinyRecursiveModels,
``dataset/build_arc_dataset.py``) on the same tasks, once, apart from this code.
"""

from __future__ import annotations

import hashlib
import json
import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from arc_tasks import EVALUATION, TRAINING, shared, tasks, write

from trm_sdk.domains.arc import Arc, canvas
from trm_sdk.domains.arc.augment import Augmentation, grid_hash, pairs_hash, split_name
from trm_sdk.domains.arc.builder import Build, Subset, build
from trm_sdk.domains.arc.data import ArcSource, evaluation_examples
from trm_sdk.domains.arc.saved_build import cached_build, load_build
from trm_sdk.domains.data import Examples
from trm_sdk.errors import CheckpointError, ConfigError, InvalidInputError
from trm_sdk.grid import Grid
from trm_sdk.task import Task

SHORT = "1 of 5 tasks have fewer than 50 different augmentations: aa000003"
SUBSETS = [Subset(tasks(TRAINING)), Subset(tasks(EVALUATION), evaluation=True)]


@pytest.fixture(scope="module")
def made() -> Build:
    with pytest.warns(UserWarning, match=SHORT):
        return build(SUBSETS, augmentations=50)


def everything(made: Build) -> Examples:
    """All training examples in order."""
    puzzles = np.repeat(np.arange(len(made.dihedrals)), np.diff(made.starts))
    return made.examples(puzzles, np.arange(len(puzzles)) - made.starts[puzzles])


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def digests(made: Build) -> tuple[str, str]:
    """Of the names, as in identifiers.json, and of all inputs and labels, a byte a token."""
    examples = everything(made)
    canvases = np.stack([examples.tokens, examples.answers]).astype(np.uint8)
    return digest(json.dumps(made.names).encode()), digest(canvases.tobytes())


def test_own_tasks_are_built_as_the_reference_builds_them(made: Build) -> None:
    assert made.group_starts.tolist() == [0, 51, 102, 111, 162, 213]
    assert digests(made) == (
        "6c9947f49c53fd610e88353b26f8cc87db8ec767004288e7a9a1120f3fb570e0",
        "042a3f9a711033330d5b26c1c0d5bc9196ab8b3c504989d9dc01dbf7e163b9e0",
    )


def test_twenty_tasks_of_arc_agi_1_are_built_as_the_reference_builds_them() -> None:
    subsets = [Subset(shared("training")[:10]), Subset(shared("evaluation")[:10], True)]
    with pytest.warns(UserWarning, match=r"3 of 20 tasks.*00d62c1b \(575\)"):
        made = build(subsets)
    assert (len(made.dihedrals), len(made.offsets)) == (18_744, 68_120)
    assert digest(json.dumps(made.names).encode()) == (
        "fe1d73ac98839082da5cded27847f8bfd56746747eededcdd12e7da8a398700d"
    )
    assert digests(build(subsets, augmentations=50)) == (
        "9fe4bca57f7819899a63e4b06095b60af618338f614d3bf30a9d23949659140f",
        "0fb83cb825ab6f2bcfc2c957b79656bee06993849cfc68b8a50f19e5f256ad4e",
    )


def test_names_are_identifiers_in_order(made: Build) -> None:
    assert made.names[0] == "<blank>"
    assert len(set(made.names)) == len(made.names) == len(made.dihedrals) + 1
    for group, start in zip(made.groups, made.group_starts, strict=False):
        assert made.names[start + 1] == group.task.name
    for puzzle in (1, 60, 105, 212):
        base, augmentation = split_name(made.names[puzzle + 1])
        assert base == made.groups[made.group_of[puzzle]].task.name
        assert augmentation == made.augmentation(puzzle)
        assert augmentation.colours[0] == 0
    assert made.examples(np.array([60]), np.array([0])).identifiers.tolist() == [61]


def test_augmentations_of_a_task_are_all_different(made: Build) -> None:
    for number, group in enumerate(made.groups):
        puzzles = range(made.group_starts[number], made.group_starts[number + 1])
        task = group.task
        pairs = [*task.demonstrations, *zip(task.inputs, task.answers or (), strict=True)]
        hashes = set()
        for puzzle in puzzles:
            one = made.augmentation(puzzle)
            hashes.add(pairs_hash([(one.apply(a), one.apply(b)) for a, b in pairs]))
        assert len(hashes) == len(puzzles)
        assert pairs_hash(pairs) in hashes


def test_a_task_with_few_augmentations_has_all_of_them(made: Build) -> None:
    names = [name for name in made.names if name.startswith("aa000003")]
    # The square of one colour looks alike in every turn: nine colours are nine tasks.
    assert len(names) == 9


def test_test_outputs_of_evaluation_tasks_are_never_trained_on(made: Build) -> None:
    trained = everything(made)
    seen: dict[str, set[str]] = {}
    for tokens, answer, identifier in zip(*trained[:3], strict=True):
        name, one = split_name(made.names[identifier])
        for side in (tokens, answer):
            cells = _uncovered(side)
            seen.setdefault(name, set()).add(grid_hash(one.inverse().apply(Grid(cells))))
    for task in tasks(EVALUATION):
        tests = {grid_hash(grid) for grid in (*task.inputs, *(task.answers or ()))}
        shown = {grid_hash(grid) for pair in task.demonstrations for grid in pair}
        assert seen[str(task.name)] == shown
        assert not tests & shown
    for task in tasks(TRAINING):
        assert {grid_hash(grid) for grid in task.answers or ()} <= seen[str(task.name)]
    assert [task.name for task in made.evaluation_tasks] == ["ee000002", "ee000001"]


def _uncovered(tokens: Any) -> Any:
    """The cells of a grid anywhere on the canvas."""
    board = tokens.reshape(30, 30) - canvas.FIRST
    rows, columns = np.flatnonzero((board >= 0).any(1)), np.flatnonzero((board >= 0).any(0))
    return board[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def test_all_pairs_of_a_puzzle_but_one_may_be_moved(made: Build) -> None:
    moved = (made.offsets > 0).any(1)
    for puzzle in range(len(made.dihedrals)):
        start, end = made.starts[puzzle : puzzle + 2]
        assert not moved[start:end].all()
    # 2x2 grids of aa000003 and aa000001 have much room: most of those that may move do.
    assert moved.mean() > 0.4


def test_input_and_output_are_moved_together(made: Build) -> None:
    examples = everything(made)
    for tokens, answer in zip(examples.tokens[::7], examples.answers[::7], strict=True):
        corners = [
            np.argwhere(side.reshape(30, 30) >= canvas.FIRST)[0] for side in (tokens, answer)
        ]
        assert corners[0].tolist() == corners[1].tolist()


def test_equal_seeds_give_equal_builds_and_others_differ() -> None:
    one, same, other = (build(SUBSETS[1:], augmentations=5, seed=seed) for seed in (1, 1, 2))
    assert one.names == same.names
    assert (one.offsets == same.offsets).all()
    assert one.names != other.names


def test_no_augmentations_are_the_tasks_alone() -> None:
    plain = build(SUBSETS, augmentations=0)
    assert sorted(plain.names[1:]) == sorted([*TRAINING, *EVALUATION])


def test_the_order_of_sections_in_the_file_is_the_order_of_pairs() -> None:
    data = TRAINING["aa000001"]
    other = {"train": data["train"], "test": data["test"]}
    first, second = (
        build([Subset(tasks({"a": one}))], augmentations=0).groups[0].pairs for one in (data, other)
    )
    assert first != second
    assert first[0][0] == Grid(data["test"][0]["input"])
    assert second[-1] == first[0]


def test_a_build_is_saved_and_loaded(made: Build, tmp_path: Path) -> None:
    made.save(tmp_path)
    assert json.loads((tmp_path / "identifiers.json").read_text()) == list(made.names)
    again = load_build(tmp_path, SUBSETS)
    assert again.names == made.names
    assert digests(again) == digests(made)
    assert cached_build(tmp_path, SUBSETS, augmentations=50).names == made.names
    with pytest.raises(CheckpointError, match="augmentations=50; got augmentations=1000"):
        cached_build(tmp_path, SUBSETS)
    with pytest.raises(CheckpointError, match="built of other tasks"):
        load_build(tmp_path, SUBSETS[:1])
    renamed = {"aa000001": TRAINING["aa000002"], "aa000002": TRAINING["aa000001"]}
    swapped = [Subset(tasks(TRAINING | renamed)), SUBSETS[1]]
    with pytest.raises(CheckpointError, match="another task aa00000"):
        load_build(tmp_path, swapped)
    (tmp_path / "build.npz").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="not a saved build"):
        load_build(tmp_path, SUBSETS)


@pytest.mark.parametrize(
    "name", ["group_starts", "dihedrals", "colours", "offsets", "order", "contents", "numbers"]
)
def test_a_build_whose_arrays_are_others_is_refused(made: Build, tmp_path: Path, name: str) -> None:
    made.save(tmp_path)
    path = tmp_path / "build.npz"
    saved = dict(np.load(path))
    whole = saved[name]
    others = [whole[:-1], whole[0], np.concatenate([whole, whole]), None]
    if whole.dtype.kind == "u":
        others += [whole + np.uint8(30), whole.astype(np.int32)]
    for other in others:
        changed = {key: one for key, one in saved.items() if key != name or other is not None}
        np.savez(path, **(changed if other is None else changed | {name: other}))
        with pytest.raises(CheckpointError, match=r"not a saved build|was built of another? "):
            load_build(tmp_path, SUBSETS)


def _unanswered(task: Task) -> Task:
    return Task(task.inputs, task.demonstrations, None, task.name)


def test_evaluation_tasks_need_no_answers() -> None:
    subsets = [SUBSETS[0], Subset([_unanswered(one) for one in SUBSETS[1].tasks], True)]
    with pytest.warns(UserWarning, match="aa000003"):
        assert len(build(subsets, augmentations=20).evaluation_tasks) == 2


@pytest.mark.parametrize(
    ("subsets", "named"),
    [
        ([], "no tasks"),
        ([Subset(tasks(TRAINING)), Subset(tasks(TRAINING))], "two tasks are named 'aa000001'.*ARC"),
        (
            [Subset([_unanswered(one) for one in tasks(TRAINING)])],
            "task aa000001 has no answers",
        ),
        ([Subset([Task((Grid([[1]]),), answers=(Grid([[1]]),))])], "must have a name.*got None"),
        (
            [Subset([Task((Grid([[1]]),), answers=(Grid([[1]]),), name="a")])],
            "task a has no demonstrations",
        ),
        (
            [Subset(tasks({"a|||b": TRAINING["aa000001"]}))],
            "must have a name without",
        ),
        # As the training tasks of ARC-AGI-2 hold evaluation tasks of ARC-AGI-1.
        (
            [SUBSETS[1], Subset(tasks({"renamed": EVALUATION["ee000002"]}))],
            "test pair 1 of the evaluation task ee000002 is trained on, as part of renamed",
        ),
    ],
)
def test_what_would_spoil_a_data_set_is_refused(subsets: list[Subset], named: str) -> None:
    with pytest.raises(InvalidInputError, match=named):
        build(subsets, augmentations=1)


def test_a_leak_can_be_allowed() -> None:
    subsets = [SUBSETS[1], Subset(tasks({"renamed": EVALUATION["ee000002"]}))]
    made = build(subsets, augmentations=1, allow_leaks={"ee000002"})
    assert len(made.groups) == 3


def test_arc_agi_1_as_published_has_one_leak() -> None:
    subsets = [Subset(shared("training")), Subset(shared("evaluation"), True)]
    assert len(build(subsets, augmentations=0).groups) == 800
    with pytest.raises(InvalidInputError, match="task 070dd51e is trained on, as part of 40853293"):
        build(subsets, augmentations=0, allow_leaks=())


@pytest.mark.parametrize("options", [{"augmentations": -1}, {"seed": -1}, {"seed": 1.5}])
def test_numbers_of_a_build_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match=f"{next(iter(options))} must be a whole number"):
        build(SUBSETS, **options)


# --- training batches ----------------------------------------------------------------------------


def test_an_epoch_takes_one_puzzle_a_group(made: Build) -> None:
    size = int(made.sizes.sum())
    source = ArcSource(made, seed=3)
    for _ in range(20):
        batch = source.draw(size)
        puzzles = set(batch.identifiers.tolist())
        groups = [int(made.group_of[identifier - 1]) for identifier in puzzles]
        assert sorted(groups) == [0, 1, 2, 3, 4]
        for identifier, count in Counter(batch.identifiers.tolist()).items():
            assert count == made.sizes[made.group_of[identifier - 1]]
    assert source.iteration == 20


def test_groups_and_puzzles_are_drawn_as_the_reference_draws_them(made: Build) -> None:
    # By hand: a Philox generator an iteration; the order of groups, then a puzzle for each group.
    source = ArcSource(made, seed=7, epochs_per_iter=3)
    for iteration in (1, 2):
        rng = np.random.Generator(np.random.Philox(seed=7 + iteration))
        order = np.concatenate([rng.permutation(5) for _ in range(3)])
        expected: list[int] = []
        for group in order:
            puzzle = int(rng.integers(made.group_starts[group], made.group_starts[group + 1]))
            expected += [puzzle + 1] * int(made.sizes[group])
            if len(expected) >= 20:
                break
        assert source.draw(20).identifiers.tolist() == expected[:20]
        # Three epochs have 45 examples or so: a second batch, but no third.
        source.draw(20)
        assert source.iteration == iteration


def test_what_does_not_fill_the_last_batch_is_left_out(made: Build) -> None:
    size = int(made.sizes.sum())
    source = ArcSource(made)
    source.draw(size - 1)
    assert source.iteration == 1
    source.draw(2)
    assert source.iteration == 2


def test_a_batch_larger_than_an_epoch_takes_several(made: Build) -> None:
    size = int(made.sizes.sum())
    batch = ArcSource(made).draw(3 * size + 1)
    assert len(batch.tokens) == 3 * size + 1
    groups = Counter(made.group_of[batch.identifiers - 1].tolist())
    assert min(groups.values()) >= 3 * made.sizes.min()


def test_batches_hold_examples_of_the_build(made: Build) -> None:
    known = everything(made)
    rows = {
        (int(one), tokens.tobytes(), answers.tobytes())
        for one, tokens, answers in zip(known.identifiers, known.tokens, known.answers, strict=True)
    }
    batch = ArcSource(made, seed=1).draw(40)
    for one, tokens, answers in zip(batch.identifiers, batch.tokens, batch.answers, strict=True):
        assert (int(one), tokens.tobytes(), answers.tobytes()) in rows
    assert (batch.mask == (batch.answers != 0)).all()
    assert batch.shape == (30, 30)
    assert batch.tokens.dtype == batch.answers.dtype == batch.identifiers.dtype == np.int32


@pytest.mark.parametrize("before", [0, 1, 5])
def test_a_source_goes_on_where_it_stood(made: Build, before: int) -> None:
    source = ArcSource(made, seed=2, epochs_per_iter=2)
    for _ in range(before):
        source.draw(6)
    state = pickle.loads(pickle.dumps(source.state_dict()))
    wanted = [source.draw(6) for _ in range(8)]
    again = ArcSource(made, seed=2, epochs_per_iter=2)
    again.draw(6)
    again.load_state_dict(state)
    for one in wanted:
        other = again.draw(6)
        assert all((a == b).all() for a, b in zip(one[:4], other[:4], strict=True))


def test_a_state_of_another_build_is_refused(made: Build) -> None:
    state = ArcSource(build(SUBSETS[1:], augmentations=3)).state_dict()
    with pytest.raises(CheckpointError, match="2 groups of 8 puzzles; this one has 5 groups"):
        ArcSource(made).load_state_dict(state)


def test_numbers_of_a_source_are_checked(made: Build) -> None:
    for options in ({"seed": -1}, {"epochs_per_iter": 0}):
        with pytest.raises(InvalidInputError, match="must be a whole number"):
            ArcSource(made, **options)
    with pytest.raises(InvalidInputError, match="n must be a whole number from 1; got 0"):
        ArcSource(made).draw(0)


def test_the_domain_draws_from_files(made: Build, tmp_path: Path) -> None:
    options = {
        "subsets": [
            {"path": str(write(tmp_path / "training.json", TRAINING))},
            {"path": str(write(tmp_path / "evaluation.json", EVALUATION)), "evaluation": True},
        ],
        "augmentations": 50,
        "folder": str(tmp_path / "build"),
    }
    wanted = ArcSource(made, 9).draw(12)
    with pytest.warns(UserWarning, match=SHORT):
        found = Arc().source(options, 9).draw(12)
    assert all((a == b).all() for a, b in zip(wanted[:4], found[:4], strict=True))
    assert (tmp_path / "build" / "build.npz").exists()
    again = Arc().examples(12, 9, options)
    assert all((a == b).all() for a, b in zip(wanted[:4], again[:4], strict=True))
    trained = Arc().trained_on(options)
    assert trained.names == made.names
    assert (trained.source(options, 9).draw(12).tokens == wanted.tokens).all()
    with pytest.raises(InvalidInputError, match="other names \\(214\\) than this domain \\(2\\)"):
        Arc(["<blank>", "a"]).source(options, 9)
    plain = Arc().generator_options(options)
    assert json.loads(json.dumps(plain)) == plain
    assert Arc().generator_options(plain) == plain
    with pytest.raises(ConfigError, match=r"generator options of arc: subsets"):
        Arc().source({}, 9)
    with pytest.raises(ConfigError, match="did you mean 'augmentations'"):
        Arc().source(options | {"augmentation": 5}, 9)


# --- evaluation ----------------------------------------------------------------------------------


def test_test_inputs_are_evaluated_under_all_augmentations(made: Build) -> None:
    held_out = made.evaluation_tasks
    batches = list(evaluation_examples(held_out, made.names, batch_size=50))
    assert [len(batch.tokens) for batch in batches] == [50, 50, 50, 3]
    all_ = Examples.concatenate(batches)
    counts = Counter(split_name(made.names[i])[0] for i in all_.identifiers)
    assert counts == {"ee000001": 51, "ee000002": 102}
    by_name = {task.name: task for task in held_out}
    places: Counter[int] = Counter()
    for tokens, answer, identifier in zip(*all_[:3], strict=True):
        base, one = split_name(made.names[identifier])
        task, index = by_name[base], places[int(identifier)]
        places[int(identifier)] += 1
        assert canvas.decode(tokens) == one.apply(task.inputs[index])
        assert task.answers is not None
        assert canvas.decode(answer) == one.apply(task.answers[index])


def test_some_augmentations_are_the_first(made: Build) -> None:
    few = Examples.concatenate(
        list(evaluation_examples(made.evaluation_tasks, made.names, augmentations=2))
    )
    assert len(few.tokens) == 3 * (1 + 2)
    starts = {made.names.index(str(task.name)) for task in made.evaluation_tasks}
    assert set(few.identifiers) == {start + i for start in starts for i in range(3)}


def test_unknown_answers_are_masked(made: Build) -> None:
    unknown = [_unanswered(task) for task in made.evaluation_tasks]
    (batch,) = evaluation_examples(unknown, made.names, augmentations=0)
    assert not batch.mask.any()


def test_a_task_without_an_identifier_is_not_evaluated(made: Build) -> None:
    with pytest.raises(InvalidInputError, match="task other is not among the 214 names"):
        evaluation_examples(tasks({"other": EVALUATION["ee000001"]}), made.names)
    for options in ({"batch_size": 0}, {"augmentations": -1}):
        with pytest.raises(InvalidInputError, match="must be a whole number"):
            evaluation_examples(made.evaluation_tasks, made.names, **options)


def test_an_augmentation_of_the_task_is_what_is_encoded(made: Build) -> None:
    domain = Arc(made.names)
    (task, *_) = made.evaluation_tasks
    for one in domain.augmentations(task)[:5]:
        assert isinstance(one, Augmentation)
        encoded = domain.encode(one.apply_task(task))
        assert made.names[encoded.identifier] == one.name_of(str(task.name))
