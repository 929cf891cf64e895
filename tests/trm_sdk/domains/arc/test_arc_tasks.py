"""ARC's files: what is read, and what is said of a bad one."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from arc_tasks import EVALUATION, SUBSETS, TRAINING, shared, tasks, write

from trm_sdk.domains import get_domain
from trm_sdk.domains.arc.tasks import read_tasks
from trm_sdk.errors import InvalidInputError
from trm_sdk.files import read_file
from trm_sdk.grid import Grid
from trm_sdk.task import Task

ID = "aa000001"


@pytest.mark.parametrize("subset", SUBSETS)
def test_all_tasks_of_arc_agi_1_load_with_their_solutions(subset: str) -> None:
    found = shared(subset)
    assert len(found) == len({task.name for task in found}) == 400
    assert all(task.answers and task.demonstrations for task in found)
    assert sum(len(task.inputs) for task in found) == {"training": 416, "evaluation": 419}[subset]
    assert {task.metadata["sections"] for task in found} == {("test", "train")}


def test_a_combined_file_is_read_in_its_order(tmp_path: Path) -> None:
    found = read_tasks(write(tmp_path / "some.json", TRAINING))
    assert [task.name for task in found] == list(TRAINING)
    first = found[0]
    assert first.inputs == (Grid(TRAINING[ID]["test"][0]["input"]),)
    assert first.answers == (Grid(TRAINING[ID]["test"][0]["output"]),)
    assert [a.tolist() for a, _ in first.demonstrations] == [
        pair["input"] for pair in TRAINING[ID]["train"]
    ]


def test_a_single_task_is_named_after_its_file(tmp_path: Path) -> None:
    (task,) = read_tasks(write(tmp_path / "0a1b2c3d.json", TRAINING[ID]))
    assert task.name == "0a1b2c3d"
    assert task == tasks({"0a1b2c3d": TRAINING[ID]})[0]


def test_a_folder_is_read_with_its_folders(tmp_path: Path) -> None:
    # As ConceptARC's corpus: a folder a concept.
    for concept in ("AboveBelow", "Center"):
        (tmp_path / concept).mkdir()
        for number, task in enumerate(EVALUATION.values(), start=1):
            write(tmp_path / concept / f"{concept}{number}.json", task)
    names = [task.name for task in read_tasks(tmp_path)]
    assert names == ["AboveBelow1", "AboveBelow2", "Center1", "Center2"]
    write(tmp_path / "Center1.json", EVALUATION["ee000001"])
    with pytest.raises(InvalidInputError, match="'Center1' is in another file"):
        read_tasks(tmp_path)


def test_solutions_are_merged(tmp_path: Path) -> None:
    challenges = copy.deepcopy(EVALUATION)
    solutions = {
        name: [pair.pop("output") for pair in task["test"]] for name, task in challenges.items()
    }
    path = write(tmp_path / "arc-agi_evaluation_challenges.json", challenges)
    assert all(task.answers is None for task in read_tasks(path))
    beside = write(tmp_path / "arc-agi_evaluation_solutions.json", solutions)
    assert read_tasks(path) == tasks(EVALUATION)
    elsewhere = beside.rename(tmp_path / "elsewhere.json")
    assert read_tasks(path, elsewhere) == tasks(EVALUATION)
    assert read_tasks(path)[0].answers is None


def test_other_keys_of_a_task_are_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "one.json", TRAINING[ID] | {"name": "mirror"})
    assert read_tasks(path)[0].metadata["name"] == "mirror"


def _at(*keys: Any) -> Callable[[dict[str, Any], Any], None]:
    def put(task: dict[str, Any], value: Any) -> None:
        place: Any = task
        for key in keys[:-1]:
            place = place[key]
        if value is ...:
            del place[keys[-1]]
        else:
            place[keys[-1]] = value

    return put


#: Where, what is put there (...: it is deleted), and what is said of it.
BAD = [
    (("train",), ..., "missing key 'train'"),
    (("test",), ..., "missing key 'test'"),
    (("train",), [], "train: must be a list of at least one pair; got []"),
    (("test",), {}, "test: must be a list of at least one pair; got {}"),
    (("train", 1), [], "train pair 2: must be an object with an 'input'"),
    (("train", 1, "input"), ..., "train pair 2: missing key 'input'"),
    (("train", 1, "output"), ..., "train pair 2: missing key 'output'"),
    (("train", 1, "out"), [[1]], "train pair 2: unknown key 'out'"),
    (("train", 1, "input"), 5, "train pair 2, input: a grid must be a list of rows; got 5"),
    (("train", 1, "input"), [], "train pair 2, input: a grid must have 1 to 30 rows; got 0"),
    (("train", 1, "input"), [[1]] * 31, "must have 1 to 30 rows; got 31"),
    (("test", 0, "output"), [[1] * 31], "test pair 1, output, row 1: must have 1 to 30 cells"),
    (("train", 1, "input", 2), [], "train pair 2, input, row 3: must have 1 to 30 cells; got 0"),
    (("train", 1, "input", 2), [1, 2], "row 3: must have 3 cells, as row 1 has; got 2"),
    (("train", 1, "input", 2), "123", "row 3: must be a list of colours; got '123'"),
    (("train", 1, "output", 2, 1), 10, "train pair 2, output, row 3, column 2: .*got 10"),
    (("train", 1, "output", 2, 1), -1, "row 3, column 2: .*from 0 to 9; got -1"),
    (("train", 1, "output", 2, 1), True, "row 3, column 2: .*got True"),
    (("train", 1, "output", 2, 1), 1.0, "row 3, column 2: .*got 1.0"),
    (("train", 1, "output", 2, 1), "1", "row 3, column 2: .*got '1'"),
    (("train", 1, "output", 2, 1), None, "row 3, column 2: .*got None"),
]


@pytest.mark.parametrize(("keys", "value", "named"), BAD)
def test_a_bad_task_is_refused_by_file_task_pair_and_row(
    tmp_path: Path, keys: tuple[Any, ...], value: Any, named: str
) -> None:
    data = copy.deepcopy(TRAINING)
    _at(*keys)(data[ID], value)
    path = write(tmp_path / "challenges.json", data)
    with pytest.raises(InvalidInputError, match=f"^challenges.json: task {ID}"):
        read_tasks(path)
    with pytest.raises(InvalidInputError, match=named.replace("[", r"\[").replace("{}", r"\{\}")):
        read_tasks(path)


def test_test_outputs_are_all_there_or_none(tmp_path: Path) -> None:
    data = copy.deepcopy(EVALUATION)
    del data["ee000002"]["test"][1]["output"]
    with pytest.raises(InvalidInputError, match="task ee000002, test pair 2: missing key 'output'"):
        read_tasks(write(tmp_path / "some.json", data))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("{}", "holds no task"),
        ("[]", "holds no task"),
        ("[1]", "must be an object with the keys 'train' and 'test'"),
        ('{"a": 5}', "task a: must be an object"),
        ('{"a": {}, "b": 1, "a": {}}', "the key 'a' appears twice"),
    ],
)
def test_what_is_no_file_of_tasks_is_refused(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInputError, match=rf"^bad\.json: .*{named}"):
        read_tasks(path)


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="can't be read"):
        read_tasks(tmp_path / "nowhere.json")
    with pytest.raises(InvalidInputError, match=r"holds no \.json file"):
        read_tasks(tmp_path)
    (tmp_path / "latin.json").write_bytes(b'{"a": "\xe9"}')
    with pytest.raises(InvalidInputError, match="can't be read as text"):
        read_tasks(tmp_path / "latin.json")
    with pytest.raises(InvalidInputError, match="solutions are for a combined file"):
        read_tasks(tmp_path, tmp_path / "latin.json")


RIGHT = {name: [pair["output"] for pair in task["test"]] for name, task in EVALUATION.items()}


@pytest.mark.parametrize(
    ("solutions", "named"),
    [
        ([], "must be an object of lists of grids"),
        ({"ee000001": RIGHT["ee000001"]}, "task ee000002: missing"),
        (RIGHT | {"x": []}, "task x: the challenges have no such task"),
        (RIGHT | {"ee000002": RIGHT["ee000002"][:1]}, "task ee000002: must be a list of 2 .*got 1"),
        (RIGHT | {"ee000002": 5}, "task ee000002: must be a list of 2 .*got 5"),
        (
            RIGHT | {"ee000002": [[[1]], [[1, 2], [3, 10]]]},
            "task ee000002, test output 2, row 2, column 2: .*got 10",
        ),
        (RIGHT | {"ee000001": [[[1]]]}, "task ee000001: differs from the outputs"),
    ],
)
def test_solutions_that_do_not_match_are_refused(
    tmp_path: Path, solutions: Any, named: str
) -> None:
    path = write(tmp_path / "challenges.json", EVALUATION)
    with pytest.raises(InvalidInputError, match=rf"^solutions\.json: {named}"):
        read_tasks(path, write(tmp_path / "solutions.json", solutions))


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    path.write_text(json.dumps(TRAINING[ID]), encoding="utf-8-sig")
    assert read_tasks(path)[0].name == "one"


def test_puzzle_files_are_read_as_arc_s_own(tmp_path: Path) -> None:
    """What `trm solve` reads is what `read_tasks` reads, with solutions from beside the file."""
    path = write(tmp_path / "arc_challenges.json", EVALUATION)
    assert list(read_file(path, get_domain("arc"))) == read_tasks(path)
    single = write(tmp_path / "0a1b2c3d.json", TRAINING[ID])
    (task,) = read_file(single, get_domain("arc"))
    assert isinstance(task, Task)
    assert task.name == "0a1b2c3d"
    with pytest.raises(InvalidInputError, match=r"bad\.json"):
        list(read_file(write(tmp_path / "bad.json", {"train": []}), get_domain("arc")))


def test_a_list_of_tasks_is_read_and_one_of_pairs_refused(tmp_path: Path) -> None:
    task = TRAINING[ID]
    for data, names in (
        ([task, task], ["l-1", "l-2"]),
        ([{"id": "a", **task}, {"name": "b", **task}], ["a", "b"]),
    ):
        path = write(tmp_path / "l.json", data)
        found = list(read_file(path, get_domain("arc")))
        assert [one.name for one in read_tasks(path)] == names
        assert [(one.name, len(one.demonstrations)) for one in found if isinstance(one, Task)] == [
            (name, len(task["train"])) for name in names
        ]
    for data, named in (
        (task["train"], "demonstration or a test"),
        ([{"id": "a", **task}] * 2, "the id 'a' stands twice"),
    ):
        with pytest.raises(InvalidInputError, match=named):
            list(read_file(write(tmp_path / "l.json", data), get_domain("arc")))


def test_a_test_output_of_null_is_one_that_is_withheld(tmp_path: Path) -> None:
    task = {**TRAINING[ID], "test": [{**TRAINING[ID]["test"][0], "output": None}]}
    (found,) = read_tasks(write(tmp_path / "t.json", task))
    assert found.answers is None
    broken = {**task, "train": [{**task["train"][0], "output": None}]}
    with pytest.raises(InvalidInputError, match="train pair 1: missing key 'output'"):
        read_tasks(write(tmp_path / "t.json", broken))
