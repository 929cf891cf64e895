"""Tasks that people run: ``pip install nox``, then ``nox -s test``; ``nox -l`` lists them."""

from __future__ import annotations

import json
import sys
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
def soak(session: nox.Session) -> None:
    """Let many threads share a solver for two minutes; an hour: python -m benchmarks.soak."""
    session.install(*PINNED, "-e", ".[test]")
    environment = {"TRM_SOAK_SECONDS": "120"}
    session.run("python", "-m", "pytest", "-m", "soak", *session.posargs, env=environment)


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


@nox.session(python=["3.11"])
def lowest(session: nox.Session) -> None:
    """Run the solving tests on the lowest versions that pyproject.toml allows."""
    session.install("uv")
    folder = Path(session.create_tmp(), "environment").resolve()
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    session.run("python", "-m", "venv", "--clear", "--without-pip", str(folder))
    session.run(
        "uv", "pip", "install", "--python", str(python), "--resolution", "lowest-direct",
        "-e", ".", "pytest>=8.3",
    )  # fmt: skip
    session.run(str(python), "-m", "pytest", "tests/packaging/test_base_install.py", external=True)


@nox.session
def audit(session: nox.Session) -> None:
    """Ask PyPI's vulnerability service about every version in constraints.txt."""
    session.install("pip-audit")
    found = Path(session.create_tmp(), "audit.json").resolve()
    found.unlink(missing_ok=True)
    asked = ("-r", "constraints.txt", "--no-deps", "--disable-pip", "--progress-spinner=off")
    # 1 stands for vulnerabilities, and for no answer of the service: the file tells them apart.
    session.run(
        "pip-audit", *asked, "-f", "json", "-o", str(found),
        silent=True, success_codes=[0, 1], env={"PIP_AUDIT_TIMEOUT": "15"},
    )  # fmt: skip
    packages = json.loads(found.read_text("utf-8"))["dependencies"] if found.is_file() else []
    audited = [package for package in packages if "vulns" in package]
    if not audited:  # a mirror without the service answers that it knows no package
        session.error("The vulnerability service can't be reached: nothing was audited.")
    if unknown := [package["name"] for package in packages if "vulns" not in package]:
        session.log(f"not known to the service, and not audited: {', '.join(unknown)}")
    vulnerable = [package for package in audited if package["vulns"]]
    for package in vulnerable:
        for one in package["vulns"]:
            fixed = ", ".join(one["fix_versions"]) or "no release"
            session.log(f"{package['name']} {package['version']}: {one['id']}, fixed by {fixed}")
    session.log(f"{len(audited)} packages audited, {len(vulnerable)} vulnerable")
    if vulnerable:
        session.error(f"{len(vulnerable)} packages have known vulnerabilities")


@nox.session
def sbom(session: nox.Session) -> None:
    """Write dist/trm-sdk.cdx.json, a CycloneDX bill of materials; arguments after -- are extras.

    What is installed is read, nothing is asked for: ``nox -R -s sbom`` writes it again offline.
    """
    session.install("cyclonedx-bom")
    folder = Path(session.create_tmp(), "environment").resolve()
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    # Beside the tool, not with it; and without pip, which is no part of the product.
    session.run_install("python", "-m", "venv", "--clear", "--without-pip", str(folder))
    wanted = f".[{','.join(session.posargs)}]" if session.posargs else "."
    session.run_install("python", "-m", "pip", "--python", str(python), "install", *PINNED, wanted)
    bill = Path("dist", "trm-sdk.cdx.json")
    bill.parent.mkdir(exist_ok=True)
    session.run(
        "cyclonedx-py", "environment", "--pyproject", "pyproject.toml", "--output-reproducible",
        "--output-file", str(bill), str(python),
    )  # fmt: skip
    parts = json.loads(bill.read_text(encoding="utf-8"))["components"]
    session.log(f"{bill}: {len(parts)} components")
