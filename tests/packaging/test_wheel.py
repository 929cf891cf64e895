"""The wheel and the sdist: what is in them, that they are reproducible, and that the wheel works
beside a package that has a `training` and an `export` of its own."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("hatchling", reason="building needs hatchling")

ROOT = Path(__file__).parents[2]
PUZZLE = "1.34341..14343.1"
SHORT = (
    "sudoku-4x4", "steps=2", "batch_size=4", "compile=false", "model.hidden_size=8",
    "evaluation.puzzles=4", "--threads", "1",
)  # fmt: skip
#: What packages of the environment that runs the tests are reached by, where a process asks for it.
DEPENDENCIES = "TRM_SDK_TEST_DEPENDENCIES"


def run(*command: object, **environment: str) -> str:
    """Run a command that must succeed, free of this process's import path; return its output."""
    inherited = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", DEPENDENCIES)}
    cwd = environment.pop("cwd", None)
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**inherited, "OMP_NUM_THREADS": "1", **environment},
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def build(source: Path, to: Path, *targets: str) -> tuple[Path, ...]:
    wanted = [word for target in targets for word in ("-t", target)]
    run(sys.executable, "-m", "hatchling", "build", "-d", to, *wanted, cwd=str(source))
    return tuple(sorted(to.iterdir()))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel and the sdist of this checkout."""
    wheel, sdist = build(ROOT, tmp_path_factory.mktemp("dist"), "wheel", "sdist")
    return wheel, sdist


def names(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_the_wheel_installs_one_import_name(built: tuple[Path, Path]) -> None:
    tops = {name.partition("/")[0] for name in names(built[0])}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"trm_sdk"}


def test_recipes_and_the_page_are_in_the_wheel_but_neither_runs_nor_stand_ins(
    built: tuple[Path, Path],
) -> None:
    inside = set(names(built[0]))
    for folder, into in (("training", "trm_sdk/training"), ("export", "trm_sdk/export")):
        tracked = run("git", "ls-files", folder, cwd=str(ROOT)) if (ROOT / ".git").exists() else ""
        expected = {
            into + name.removeprefix(folder)
            for name in tracked.splitlines()
            if not name.startswith("training/runs/") and (ROOT / name).exists()
        }
        assert expected <= inside
    assert {
        "trm_sdk/training/recipes/sudoku/sudoku.yaml",
        "trm_sdk/export/web_assets/trm.js",
        "trm_sdk/pretrained/sudoku/model.onnx",
        "trm_sdk/py.typed",
    } <= inside
    assert not [name for name in inside if "/runs/" in name or name.endswith(".pt")]
    assert "trm_sdk/_checkout.py" not in inside
    with zipfile.ZipFile(built[0]) as archive:
        for part in ("export", "training"):
            assert (
                archive.read(f"trm_sdk/{part}/__init__.py")
                == (ROOT / part / "__init__.py").read_bytes()
            )


def test_the_sdist_builds_the_same_wheel_and_itself_again(
    built: tuple[Path, Path], tmp_path: Path
) -> None:
    """In another folder, at another time: both files are the same to the byte."""
    with tarfile.open(built[1]) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    for path in source.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    for name in ("CHANGELOG.md", "SECURITY.md", "docs", "tests", "benchmarks", "examples"):
        assert (source / name).exists()
    again = build(source, tmp_path / "dist", "wheel", "sdist")
    for first, second in zip(built, again, strict=True):
        assert first.name == second.name
        digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in (first, second)]
        assert digests[0] == digests[1], first.name


def test_an_index_would_take_both(built: tuple[Path, Path]) -> None:
    pytest.importorskip("twine")
    run(sys.executable, "-m", "twine", "check", "--strict", *built)


class Environment:
    """A virtual environment that sees the packages of this one, except `trm_sdk`, where it runs.

    pip does not see them: it neither takes this environment's `trm-sdk` for installed nor touches
    it.
    """

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=False)
        self.bin = folder / ("Scripts" if os.name == "nt" else "bin")
        self.python = self.bin / Path(sys.executable).name
        if not self.python.exists():
            self.python = self.bin / "python"
        self.site = Path(
            run(self.python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
        )
        # After this environment's own packages; a path file in there is not read.
        (self.site / "dependencies.pth").write_text(
            f"import os, sys; sys.path.extend(filter(None, os.environ.get({DEPENDENCIES!r}, '')"
            ".split(os.pathsep)))\n"
        )

    def pip(self, *arguments: object) -> None:
        run(sys.executable, "-m", "pip", "--python", self.python, *arguments)

    def install(self, wheel: Path) -> None:
        self.pip("install", "-q", "--no-deps", "--no-index", wheel)

    def uninstall(self, name: str) -> None:
        self.pip("uninstall", "-q", "-y", name)

    def run(self, program: str, *arguments: object, **environment: str) -> str:
        paths = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
        seen = {DEPENDENCIES: os.pathsep.join(sorted(paths))}
        return run(self.bin / program, *arguments, **seen, **environment)


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return Environment(tmp_path / "env")


@pytest.fixture(scope="module")
def clashing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel with top-level packages `training` and `export`."""
    source = tmp_path_factory.mktemp("acme")
    for package in ("training", "export"):
        (source / package).mkdir()
        (source / package / "__init__.py").write_text(f"OWNER = 'acme {package}'\n")
        for module in ("fit", "cli", "state"):
            (source / package / f"{module}.py").write_text("raise SystemExit('acme was run')\n")
    (source / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        '[project]\nname = "acme-trainer"\nversion = "1"\n'
        '[tool.hatch.build.targets.wheel]\npackages = ["training", "export"]\n'
    )
    (wheel,) = build(source, source / "dist", "wheel")
    return wheel


def use_everything(environment: Environment, folder: Path) -> None:
    """Solve, export and train in a folder that has a `training` and an `export` of its own."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "training").mkdir(parents=True)
    (folder / "training" / "__init__.py").write_text("raise SystemExit('the folder was run')\n")
    (folder / "export.py").write_text("raise SystemExit('the file was run')\n")
    here = {"cwd": str(folder), "PYTHONPATH": "."}
    solved = json.loads(
        environment.run("trm", "solve", PUZZLE, "-m", "sudoku-4x4", "--json", **here)
    )
    assert solved["verified"]
    environment.run("trm-fit", *SHORT, "--out", "first", **here)
    model = folder / "first" / "model"
    environment.run("trm-export", "bundle", model, "-o", "bundle", **here)
    environment.run("trm", "solve", PUZZLE, "-m", "bundle", "--steps", 2, **here)
    environment.run("python", "-m", "trm_sdk.training.fit", *SHORT, "--out", "second", **here)
    assert (folder / "second" / "model" / "model.safetensors").read_bytes() == (
        model / "model.safetensors"
    ).read_bytes()


def owners(environment: Environment) -> list[str]:
    code = "import training, export; print(training.OWNER, export.OWNER, sep='\\n')"
    return environment.run("python", "-P", "-c", code).splitlines()


@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_it_works_beside_a_package_with_the_same_folders(
    first: str,
    built: tuple[Path, Path],
    clashing: Path,
    environment: Environment,
    tmp_path: Path,
) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("onnx")
    pytest.importorskip("numba")
    for wheel in (built[0], clashing) if first == "ours" else (clashing, built[0]):
        environment.install(wheel)
    use_everything(environment, tmp_path / "work")
    assert owners(environment) == ["acme training", "acme export"]
    if first == "ours":  # and the one that came last goes first
        environment.uninstall("acme-trainer")
        use_everything(environment, tmp_path / "work")
    else:
        environment.uninstall("trm-sdk")
        assert owners(environment) == ["acme training", "acme export"]
        assert not [*(environment.site / "trm_sdk").rglob("*.py")]


def test_an_editable_installation_serves_scripts_and_both_module_names(
    environment: Environment, tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("onnx")
    (wheel,) = build(ROOT, tmp_path / "dist", "wheel:editable")
    environment.install(wheel)
    for command in (
        ("trm-fit",),
        ("trm-export",),
        ("python", "-m", "trm_sdk.training.fit"),
        ("python", "-m", "training.fit"),
        ("python", "-m", "trm_sdk.export.cli"),
        ("python", "-m", "export.cli"),
    ):
        assert "Usage:" in environment.run(*command, "--help", cwd=str(tmp_path))
    code = (
        "from trm_sdk import export; from trm_sdk.training import fit; "
        "print(export.__file__, fit.__file__)"
    )
    found = environment.run("python", "-c", code, cwd=str(tmp_path)).split()
    assert found == [str(ROOT / "export" / "__init__.py"), str(ROOT / "training" / "fit.py")]


def test_a_checkout_works_from_its_top_without_an_installation(environment: Environment) -> None:
    pytest.importorskip("torch")
    usage = environment.run("python", "-m", "training.fit", "--help", cwd=str(ROOT))
    assert "python -m training.fit" in usage
