"""Packages of domains work as they stand: the example's, and what `trm new-domain` writes."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from programs import EXAMPLES, ROOT, run

from trm_sdk.cli import main

CUSTOM = EXAMPLES / "custom_domain"


def installed(package: Path, folder: Path) -> dict[str, str]:
    """An environment in which a package counts as installed, its entry points included."""
    project = (package / "pyproject.toml").read_text(encoding="utf-8")
    (entry,) = re.findall(r'^"(.+)" = "(\w+:\w+)"$', project, re.MULTILINE)
    info = folder / "installed" / "own-0.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text(f"[trm_sdk.domains]\n{entry[0]} = {entry[1]}\n")
    paths = (ROOT, package, info.parent)
    return {"PYTHONPATH": ":".join(map(str, paths))}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("new") / "puzzle"
    result = CliRunner().invoke(main, ["new-domain", "number-place", "--folder", str(folder)])
    assert result.exit_code == 0, result.output
    return folder


@pytest.mark.parametrize("which", ["example", "written"])
def test_its_own_tests_pass(which: str, written: Path, tmp_path: Path) -> None:
    package = CUSTOM if which == "example" else written
    result = run(
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", package,
        env=installed(package, tmp_path), timeout=600,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("which", ["example", "written"])
def test_a_first_training_step_runs_and_its_model_solves(
    which: str, written: Path, tmp_path: Path
) -> None:
    package = CUSTOM if which == "example" else written
    name = "takuzu" if which == "example" else "number_place"
    puzzle = "...0........1..00..0........0.0..0.1" if which == "example" else "1" + "." * 24
    env = installed(package, tmp_path)
    changes = ("steps=2", "compile=false", "evaluation.puzzles=4", "evaluation.steps=2")
    fit = (sys.executable, "-m", "training.fit", package / f"{name}.yaml", *changes)
    result = run(*fit, "--out", tmp_path / "run", "--device", "cpu", env=env, timeout=600)
    assert result.returncode == 0, result.stdout + result.stderr
    model = tmp_path / "run" / "model"
    trm = (sys.executable, "-m", "trm_sdk.cli")
    solved = run(*trm, "solve", puzzle, "-m", model, "--steps", "2", env=env)
    assert solved.returncode in (0, 1), solved.stderr
    assert re.search(r"verified|NOT solved", solved.stdout)
    gif = tmp_path / "a.gif"
    watched = run(
        *trm, "watch", puzzle, "-m", model, "--steps", "2", "--delay", "0", "--gif", gif, env=env
    )
    assert watched.returncode in (0, 1), watched.stderr
    assert gif.read_bytes()[:6] == b"GIF89a"


def test_names_that_can_not_be_a_package_are_refused(tmp_path: Path) -> None:
    folder = str(tmp_path / "new")
    for name, named in (
        ("Sudoku", "lower-case letters"),
        ("9x9", "lower-case letters"),
        ("a_b", "lower-case letters"),
        ("../up", "lower-case letters"),
        ("sudoku", "a domain named 'sudoku' already"),
        ("json", "a reserved name in Python"),
        ("class", "a reserved name in Python"),
        ("a" * 60, "lower-case letters"),
    ):
        result = CliRunner().invoke(main, ["new-domain", name, "--folder", folder])
        assert result.exit_code == 2, result.output
        assert named in result.stderr
        assert "Traceback" not in result.output
    assert not (tmp_path / "new").exists()


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("precious")
    result = CliRunner().invoke(main, ["new-domain", "mine", "--folder", str(tmp_path)])
    assert result.exit_code == 2
    assert "mine.py exists; choose another folder" in result.stderr
    assert (tmp_path / "mine.py").read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir()] == ["mine.py"]
