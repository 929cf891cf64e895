"""Lists of tasks: resumed where they were left, the same in one process or several."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("numba")
from adapt_tasks import RECOLOUR, made

from trm_sdk.adapt import many
from trm_sdk.adapt.many import solve_tasks
from trm_sdk.errors import ConfigError, InvalidInputError
from trm_sdk.grid import Grid
from trm_sdk.solution import Failure, Solution
from trm_sdk.task import Task

SIZELESS = Task(
    (Grid([[1]]),),
    ((Grid([[1, 1]]), Grid([[1]])), (Grid([[1, 1]]), Grid([[1], [1]]))),
    name="sizeless",
)
TASKS = [RECOLOUR, SIZELESS, made(lambda cells: cells[:, ::-1], seed=3, tests=2)]


def found(**options: Any) -> dict[int, Any]:
    return {
        index: (one.candidates, one.fitted) if isinstance(one, Solution) else type(one)
        for index, one in solve_tasks(TASKS, steps=20, **options)
    }


def test_what_is_done_is_not_learned_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = found(cache=tmp_path)
    assert first[1] is Failure
    assert len(list(tmp_path.iterdir())) == 2
    (tmp_path / many.key(TASKS[2], _options())).write_text("cut of", encoding="utf-8")
    learned: list[str | None] = []
    learn = many._learn

    def counted(task: Task, *rest: Any) -> dict[str, Any]:
        learned.append(task.name)
        return learn(task, *rest)

    monkeypatch.setattr(many, "_learn", counted)
    assert found(cache=tmp_path) == first
    assert len(learned) == 2  # the one without a size rule, and the spoilt one


def _options() -> Any:
    return many.AdaptOptions(steps=20)


def test_other_options_and_other_tasks_have_files_of_their_own() -> None:
    names = {
        many.key(task, options)
        for task in (RECOLOUR, TASKS[2])
        for options in (_options(), many.AdaptOptions(steps=20, seed=1))
    }
    assert len(names) == 4


def test_two_processes_give_what_one_gives(tmp_path: Path) -> None:
    assert found(processes=2) == found()


def test_options_are_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="steps"):
        solve_tasks(TASKS, steps=0)
    with pytest.raises(InvalidInputError, match="processes must be a whole number"):
        solve_tasks(TASKS, processes=0)


def test_a_kept_result_is_plain_json(tmp_path: Path) -> None:
    found(cache=tmp_path)
    data = json.loads((tmp_path / many.key(RECOLOUR, _options())).read_text(encoding="utf-8"))
    assert data["steps"] == 20
    assert data["candidates"][0][0][0] == found()[0][0][0][0].grid.tolist()


def test_other_arguments_are_refused_at_once(tmp_path: Path) -> None:
    wrong: Any = [RECOLOUR, "00d62c1b"]
    with pytest.raises(InvalidInputError, match="tasks must be Tasks; got '00d62c1b'"):
        solve_tasks(wrong, steps=1)
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInputError, match="file can't be made: "):
        solve_tasks(TASKS, steps=1, cache=tmp_path / "file")
