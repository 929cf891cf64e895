"""Tasks that people run: ``pip install nox``, then ``nox -s test``; ``nox -l`` lists them."""

from __future__ import annotations

from pathlib import Path

import nox

nox.options.sessions = ["lint", "test"]
nox.options.reuse_existing_virtualenvs = True

PINNED = ("-c", "constraints.txt")


@nox.session(python=["3.11", "3.12", "3.13"])
def test(session: nox.Session) -> None:
    """Run the tests; arguments after -- go to pytest."""
    session.install(*PINNED, "-e", ".[test]")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, format, types and the direction of imports."""
    session.install(*PINNED, "-e", ".[test]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("lint-imports")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the site into ./site, strictly, and run every block of code on its pages."""
    session.install(*PINNED, "-e", ".[test,docs]")
    session.run("python", "-m", "pytest", "tests/docs", *session.posargs)
    session.run("mkdocs", "build", "--strict")


@nox.session
def coverage(session: nox.Session) -> None:
    """Run the tests and report which lines and branches of the packages they reach."""
    session.install(*PINNED, "-e", ".[test,parquet]")
    packages = [f"--cov={name}" for name in ("trm_sdk", "export", "training")]
    session.run("python", "-m", "pytest", *packages, "--cov-report=term", *session.posargs)


@nox.session
def examples(session: nox.Session) -> None:
    """Run the tests of all examples: service, page, notebook, Ray; see examples/setup.sh, too."""
    session.install(*PINNED, "-e", ".[test,examples]")
    session.run("python", "-m", "pytest", "tests/examples", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure: ``nox -s bench -- solve --puzzles 50`` runs ``python -m benchmarks.solve``."""
    session.install(*PINNED, "-e", ".[test]")
    name, *arguments = session.posargs or ("solve",)
    session.run("python", "-m", f"benchmarks.{name}", *arguments)


@nox.session
def wheel(session: nox.Session) -> None:
    """Build wheel and sdist, check both as an index does, and solve a puzzle with the wheel."""
    folder = Path(session.create_tmp())
    for old in folder.glob("trm_sdk-*"):
        old.unlink()
    session.install(*PINNED, "hatchling", "twine")
    session.run("python", "-m", "hatchling", "build", "-d", str(folder))
    session.run("python", "-m", "twine", "check", "--strict", *map(str, folder.glob("trm_sdk-*")))
    (built,) = folder.glob("trm_sdk-*.whl")
    session.install(*PINNED, "--force-reinstall", str(built))
    puzzle = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79"
    session.run("trm", "solve", puzzle)
